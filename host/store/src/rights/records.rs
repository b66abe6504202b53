//! Values of records along relations, without any rights: what expressions in rules read of the user.

use rusqlite::{Connection, types::Value as Sql};
use triggerbox_model::{
    domain::Literal,
    error::Error,
    schema::{Field, FieldKind, Model},
    value::Id,
};

use crate::{
    db::fault,
    ddl::{quote, table},
    env::Env,
};

/// Records of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) model: String,
    pub(super) ids: Vec<Id>,
}

/// What an attribute of records is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    Records(Records),
    Plain(Literal),
}

impl Records {
    /// `id`, `ids`, or the value of a field. A plain field needs at most one record; of none, it is `False`.
    pub(super) fn attribute(&self, conn: &Connection, env: &Env, name: &str) -> Result<Attribute, Error> {
        let ids = || self.ids.iter().map(|id| Literal::Integer(i64::from(*id)));
        match name {
            "id" => {
                return Ok(Attribute::Plain(
                    self.only()?.map_or(Literal::Bool(false), |id| Literal::Integer(i64::from(id))),
                ));
            }
            "ids" => return Ok(Attribute::Plain(Literal::List(ids().collect()))),
            _ => {}
        }
        let model = env.schema.model(&self.model)?;
        if let Some(field) = model.fields.get(name) {
            return self.field(conn, env, model, name, field);
        }
        for (parent, link) in &model.inherits {
            if env.schema.models.get(parent).is_some_and(|parent| parent.fields.contains_key(name)) {
                return self.path(conn, env, &format!("{link}.{name}"));
            }
        }
        model.field(name).map(|_| Attribute::Plain(Literal::None))
    }

    fn path(&self, conn: &Connection, env: &Env, path: &str) -> Result<Attribute, Error> {
        let mut at = Attribute::Records(self.clone());
        for name in path.split('.') {
            at = match at {
                Attribute::Records(records) => records.attribute(conn, env, name)?,
                Attribute::Plain(_) => {
                    return Err(Error::invalid("bad-rule", format!("takes `.{name}` of a plain value")));
                }
            };
        }
        Ok(at)
    }

    fn only(&self) -> Result<Option<Id>, Error> {
        match self.ids.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some(*id)),
            _ => Err(Error::invalid("bad-rule", format!("needs one record of `{}`, and has several", self.model))),
        }
    }

    fn field(
        &self,
        conn: &Connection,
        env: &Env,
        model: &Model,
        name: &str,
        field: &Field,
    ) -> Result<Attribute, Error> {
        if !field.store {
            return match &field.related {
                Some(path) => self.path(conn, env, path),
                None => {
                    let message = format!("uses `{}.{name}`, which is not stored", model.name);
                    Err(Error::invalid("bad-rule", message).with_field(name))
                }
            };
        }
        let related = || field.relation.clone().unwrap_or_default();
        let own = quote(&table(&model.name));
        let sql = match field.kind {
            FieldKind::One2many => {
                let inverse = quote(field.relation_field.as_deref().unwrap_or_default());
                format!("SELECT \"id\" FROM {} WHERE {inverse} = ?1 ORDER BY \"id\"", quote(&table(&related())))
            }
            FieldKind::Many2many => {
                let Some(pairs) = &field.m2m else { return Ok(Attribute::Plain(Literal::None)) };
                let (one, two) = (quote(&pairs.column1), quote(&pairs.column2));
                format!("SELECT {two} FROM {} WHERE {one} = ?1 ORDER BY {two}", quote(&pairs.table))
            }
            _ => format!("SELECT {} FROM {own} WHERE \"id\" = ?1", quote(name)),
        };
        if field.kind.is_relational() {
            let mut ids: Vec<Id> = Vec::new();
            for id in &self.ids {
                let mut statement = conn.prepare_cached(&sql).map_err(fault)?;
                let found = statement.query_map([id], |row| row.get::<_, Option<Id>>(0)).map_err(fault)?;
                for other in found {
                    if let Some(other) = other.map_err(fault)?
                        && !ids.contains(&other)
                    {
                        ids.push(other);
                    }
                }
            }
            return Ok(Attribute::Records(Self { model: related(), ids }));
        }
        let Some(id) = self.only()? else { return Ok(Attribute::Plain(Literal::Bool(false))) };
        let mut statement = conn.prepare_cached(&sql).map_err(fault)?;
        let mut rows = statement.query([id]).map_err(fault)?;
        let value = match rows.next().map_err(fault)? {
            Some(row) => row.get(0).map_err(fault)?,
            None => Sql::Null,
        };
        Ok(Attribute::Plain(match (field.kind, value) {
            (FieldKind::Boolean, Sql::Integer(flag)) => Literal::Bool(flag != 0),
            (FieldKind::Integer, Sql::Null) => Literal::Integer(0),
            (FieldKind::Float | FieldKind::Monetary, Sql::Null) => Literal::Float(0.0),
            (_, Sql::Integer(number)) => Literal::Integer(number),
            (_, Sql::Real(number)) => Literal::Float(number),
            (_, Sql::Text(text)) => Literal::Text(text),
            (_, Sql::Null | Sql::Blob(_)) => Literal::Bool(false),
        }))
    }
}
