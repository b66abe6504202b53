//! Values to create or write records with.

use crate::{Field, Value};

/// Field names with values, in the order they were set. Written with [`values!`](crate::values).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(pub Vec<Field>);

impl Values {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field; replaces what was set before.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        let field = Field::new(name, value);
        match self.0.iter_mut().find(|other| other.name == field.name) {
            Some(other) => *other = field,
            None => self.0.push(field),
        }
        self
    }

    /// What a field is set to.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    /// Whether nothing is set: such a write can be left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Values> for Vec<Field> {
    fn from(values: Values) -> Self {
        values.0
    }
}

/// Values by field name, like a dictionary in Python.
///
/// ```
/// # use triggerbox::prelude::*;
/// let expected_revenue = 12_000.0;
/// let tag_ids = vec![4, 9];
/// let mut lead = values! { "name" => "Solar roof", "expected_revenue" => expected_revenue, "tag_ids" => tag_ids };
/// lead.set("user_id", None::<u32>);
/// ```
#[macro_export]
macro_rules! values {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::Values(::std::vec![$($crate::Field::new($name, $value)),*])
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_order_and_the_last_set_wins() {
        let mut values = values! { "name" => "Ada", "active" => true };
        values.set("name", "Grace").set("color", 3);
        assert_eq!(values, values! { "name" => "Grace", "active" => true, "color" => 3 });
        assert_eq!(values.get("color"), Some(&Value::Integer(3)));
        assert!(Values::new().is_empty());
    }
}
