//! The SQL functions that Meridian adds: `resource_attribute(resource, key)` and `hex(bytes)`.
//! What SQL has already (`attributes['user.id']`) gets no second name.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use meridian_proto::ids::to_hex;
use meridian_proto::schema;
use serde_json::Value;

/// Every function.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(ResourceAttribute::new())),
        Arc::new(ScalarUDF::from(Hex::new())),
    ]
}

/// What SHOW FUNCTIONS says of a function.
pub(super) fn documentation(description: &str, syntax: &str) -> Documentation {
    Documentation::builder(DocSection::default(), description, syntax).build()
}

/// `resource_attribute(resource, 'key')`: an attribute of the resource as text, or null. The
/// resource's JSON is parsed once per distinct value of a batch.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ResourceAttribute {
    signature: Signature,
}

impl ResourceAttribute {
    fn new() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ResourceAttribute {
    fn name(&self) -> &str {
        "resource_attribute"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [resource, key] if is_text(resource) && is_text(key) => Ok(schema::dictionary()),
            _ => plan_err!(
                "resource_attribute takes the column resource and a key, as in resource_attribute(resource, 'host.arch')"
            ),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [resource, key] = args.args.as_slice() else {
            return exec_err!("resource_attribute takes two arguments");
        };
        let ColumnarValue::Scalar(key) = key else {
            return exec_err!("the key of resource_attribute must be a constant");
        };
        let key = key.try_as_str().flatten().unwrap_or_default();
        let resource = cast(&resource.to_array(args.number_rows)?, &schema::dictionary())?;
        let dictionary = resource.as_dictionary::<Int32Type>();
        let distinct = dictionary.values().as_string::<i32>();
        let found: StringArray = distinct.iter().map(|json| attribute_of(json?, key)).collect();
        let found = dictionary.with_values(Arc::new(found));
        Ok(ColumnarValue::Array(Arc::new(found)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            documentation(
                "An attribute of a resource as text.",
                "resource_attribute(resource, key)",
            )
        });
        Some(&DOCUMENTATION)
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_text(value),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        _ => false,
    }
}

/// The value of `key` in the OTLP JSON of a resource, as text.
fn attribute_of(resource: &str, key: &str) -> Option<String> {
    let resource: Value = serde_json::from_str(resource).ok()?;
    let holder = resource.get("resource").unwrap_or(&resource);
    let attributes = holder.get("attributes")?.as_array()?;
    let attribute = attributes
        .iter()
        .find(|attribute| attribute.get("key").and_then(Value::as_str) == Some(key))?;
    let (_, value) = attribute.get("value")?.as_object()?.iter().next()?;
    Some(match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// `hex(bytes)`: lower-case hex, as ids are shown.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Hex {
    signature: Signature,
}

impl Hex {
    fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Hex {
    fn name(&self) -> &str {
        "hex"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Null] => {
                Ok(DataType::Utf8)
            }
            _ => plan_err!("hex takes a binary column, as in hex(trace_id); for integers there is to_hex"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [bytes] = args.args.as_slice() else {
            return exec_err!("hex takes one argument");
        };
        let is_scalar = matches!(bytes, ColumnarValue::Scalar(_));
        let array = cast(&bytes.to_array(args.number_rows)?, &DataType::Binary)?;
        let text: StringArray = array
            .as_binary::<i32>()
            .iter()
            .map(|value| value.map(to_hex))
            .collect();
        let text: ArrayRef = Arc::new(text);
        if is_scalar && !text.is_empty() {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&text, 0)?));
        }
        Ok(ColumnarValue::Array(text))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> =
            LazyLock::new(|| documentation("Lower-case hex, as ids are shown.", "hex(bytes)"));
        Some(&DOCUMENTATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read_as_text() {
        let resource = r#"{"attributes":[{"key":"a","value":{"stringValue":"x"}},
            {"key":"b","value":{"intValue":"7"}},{"key":"c","value":{"boolValue":true}}]}"#;
        assert_eq!(attribute_of(resource, "a").as_deref(), Some("x"));
        assert_eq!(attribute_of(resource, "b").as_deref(), Some("7"));
        assert_eq!(attribute_of(resource, "c").as_deref(), Some("true"));
        assert_eq!(attribute_of(resource, "d"), None);
        assert_eq!(attribute_of("not json", "a"), None);
    }
}
