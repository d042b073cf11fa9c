//! Types whose JSON is not that of their fields.

use super::*;

pub fn value(kind: Kind, item: Item, depth: usize) -> Result<Value> {
    let bytes = item.bytes()?;
    if depth > DEPTH {
        return Err(WireError::Depth);
    }
    let mut reader = Reader(bytes);
    let (mut one, mut two, mut three) = (Vec::new(), Vec::new(), Vec::new());
    while let Some((number, item)) = reader.next()? {
        match number {
            1 => one.push(item),
            2 => two.push(item),
            3 => three.push(item),
            _ => {}
        }
    }
    let int = |items: &[Item]| items.last().map_or(Ok(0), |item| item.int());
    let text = |items: &[Item]| items.last().map_or(Ok(String::new()), |item| item.text());
    let texts = |items: &[Item]| items.iter().map(|item| item.text().map(Value::from)).collect::<Result<Vec<_>>>().map(Value::from);
    let schema = |items: &[Item]| items.last().map(|item| object(table::schema_props(), *item, depth)).transpose();
    Ok(match kind {
        Kind::Time | Kind::MicroTime => {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            let nanos = i32::try_from(int(&two)?).map_err(|_| WireError::Illegal("time"))?;
            let time = Timestamp::new(int(&one)?, nanos).map_err(|_| WireError::Illegal("time"))?;
            if kind == Kind::Time { meta::time::format(time).into() } else { meta::time::format_micro(time).into() }
        }
        Kind::Quantity => match text(&one)? {
            empty if empty.is_empty() => "0".into(),
            quantity => quantity.into(),
        },
        Kind::IntOrString if int(&one)? == 0 => int(&two)?.into(),
        Kind::IntOrString => text(&three)?.into(),
        Kind::Wrapped => texts(&one)?,
        Kind::Raw | Kind::Json => match one.last() {
            None => Value::Null,
            Some(raw) => json(raw.bytes()?, depth)?,
        },
        Kind::SchemaOrArray if two.is_empty() => schema(&one)?.unwrap_or_default(),
        Kind::SchemaOrArray => two.iter().map(|item| object(table::schema_props(), *item, depth)).collect::<Result<Vec<_>>>()?.into(),
        Kind::SchemaOrBool => match schema(&two)? {
            Some(schema) => schema,
            None => (int(&one)? != 0).into(),
        },
        Kind::SchemaOrStrings if two.is_empty() => schema(&one)?.unwrap_or_default(),
        Kind::SchemaOrStrings => texts(&two)?,
        _ => return Err(WireError::Illegal("kind")),
    })
}

/// JSON text, or an object in an envelope of its own.
fn json(raw: &[u8], depth: usize) -> Result<Value> {
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if raw.starts_with(MAGIC) {
        return envelope(raw, depth + 1);
    }
    serde_json::from_slice(raw).map_err(|_| WireError::Illegal("raw value is not JSON"))
}
