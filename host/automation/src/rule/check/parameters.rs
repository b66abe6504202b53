//! Values of parameters against the types in the manifest.

use indexmap::IndexMap;
use triggerbox_model::{
    manifest::{Manifest, ParameterKind},
    text::nearest,
    value::Value,
};

/// What is wrong with the values that a rule sets: all of it, each with the parameter's name.
pub(crate) fn misfits(manifest: &Manifest, set: &IndexMap<String, String>) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    let known = |name: &str| manifest.parameters.iter().find(|parameter| parameter.name == name);
    for (name, text) in set {
        match known(name) {
            Some(parameter) => {
                if let Err(error) = parameter.parse(text) {
                    wrong.push((name.clone(), error.problem));
                }
            }
            None => {
                let names = || manifest.parameters.iter().map(|parameter| parameter.name.as_str());
                let problem = match nearest(name, names()) {
                    Some(near) => format!("is not in the manifest; did you mean `{near}`?"),
                    None if manifest.parameters.is_empty() => "is not in the manifest: the script has none".to_owned(),
                    None => format!("is not in the manifest; there are {}", names().collect::<Vec<_>>().join(", ")),
                };
                wrong.push((name.clone(), problem));
            }
        }
    }
    for parameter in &manifest.parameters {
        let unset = !set.contains_key(&parameter.name) && matches!(parameter.default_value(), Ok(Value::Unset));
        if parameter.required && unset {
            wrong.push((parameter.name.clone(), "is required; set it".to_owned()));
        }
    }
    wrong
}

/// Records that parameters name: the parameter, the model, and the record.
pub(crate) fn links<'a>(
    manifest: &'a Manifest,
    set: &'a IndexMap<String, String>,
) -> impl Iterator<Item = (&'a str, &'a str, u32)> {
    manifest.parameters.iter().filter(|parameter| parameter.kind == ParameterKind::Many2one).filter_map(|parameter| {
        let id = set.get(&parameter.name)?.parse().ok()?;
        Some((parameter.name.as_str(), parameter.relation.as_deref()?, id))
    })
}
