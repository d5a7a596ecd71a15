//! Reading a schema: every keyword known, every bound present, every leaf with a category.

use super::{
    BODY_DEPTH, BTreeMap, BTreeSet, FIELD_ITEMS_MAX, FIELD_NAMES_MAX, FIELD_TEXT_MAX, Json, JsonFault, Node,
    Property, Rule, SCHEMA_DEPTH, SCHEMA_MAX, Schema, SchemaError, Scope, is_code, json,
};

type Keywords = BTreeMap<String, Json>;

pub(super) fn json(text: &str) -> Result<Json, SchemaError> {
    let error = |what: String| SchemaError { pointer: String::new(), what };
    if text.len() > SCHEMA_MAX {
        return Err(error(format!("{} bytes where at most {SCHEMA_MAX} are allowed", text.len())));
    }
    json::parse(text.as_bytes(), SCHEMA_DEPTH).map_err(|fault| {
        error(match fault {
            JsonFault::Utf8 => "not UTF-8".to_owned(),
            JsonFault::Syntax { line, column } => format!("not JSON, line {line}, column {column}"),
            JsonFault::Duplicate { line, column } => {
                format!("a key stands twice in one object, before line {line}, column {column}")
            }
            JsonFault::TooDeep => format!("nested deeper than {SCHEMA_DEPTH} levels"),
        })
    })
}

pub(super) fn read(text: &str) -> Result<Schema, SchemaError> {
    let json = json(text)?;
    let mut reader = Reader { pointer: Vec::new(), categories: BTreeSet::new() };
    // Twice: the first pass collects the categories, so that the second gives each leaf a final index.
    reader.node(&json, None, BODY_DEPTH)?;
    let root = reader.node(&json, None, BODY_DEPTH)?;
    if !matches!(root, Node::Object(_)) {
        return reader.fail("the root must have \"type\": \"object\"");
    }
    Ok(Schema { root, categories: reader.categories.into_iter().collect() })
}

struct Reader {
    pointer: Vec<String>,
    categories: BTreeSet<String>,
}

impl Reader {
    fn fail<T>(&self, what: impl Into<String>) -> Result<T, SchemaError> {
        let pointer = self.pointer.iter().fold(String::new(), |path, token| path + "/" + token);
        Err(SchemaError { pointer, what: what.into() })
    }

    fn under<T>(
        &mut self,
        token: &str,
        then: impl FnOnce(&mut Self) -> Result<T, SchemaError>,
    ) -> Result<T, SchemaError> {
        self.pointer.push(super::fault::escape(token));
        let result = then(self)?;
        self.pointer.pop();
        Ok(result)
    }

    fn node(&mut self, json: &Json, inherited: Option<&str>, depth: usize) -> Result<Node, SchemaError> {
        let Json::Object(keywords) = json else { return self.fail("a schema is an object") };
        let Some(depth) = depth.checked_sub(1) else {
            return self.fail(format!("describes bodies nested deeper than {BODY_DEPTH} levels"));
        };
        let category = match keywords.get("x-category") {
            None => inherited,
            Some(Json::Text(code)) if is_code(code) => Some(code.as_str()),
            Some(_) => return self.fail("`x-category` must be a category code: a-z, 0-9 and _"),
        };
        let Some(Json::Text(kind)) = keywords.get("type") else {
            return self.fail("`type` is missing: write object, array, string, integer or boolean");
        };
        match kind.as_str() {
            "object" => self.object(keywords, category, depth),
            "array" => self.array(keywords, category, depth),
            "string" => self.leaf(keywords, category, Self::text),
            "integer" => self.leaf(keywords, category, Self::integer),
            "boolean" => self.leaf(keywords, category, Self::boolean),
            _ => self.fail("`type` must be object, array, string, integer or boolean"),
        }
    }

    fn known(&self, keywords: &Keywords, allowed: &[&str]) -> Result<(), SchemaError> {
        let common = ["type", "x-category", "description"];
        for name in keywords.keys() {
            if !common.contains(&name.as_str()) && !allowed.contains(&name.as_str()) {
                let list = [&common[..], allowed].concat().join(", ");
                return self.fail(format!(
                    "keyword `{}` is not allowed here; allowed are {list}",
                    super::fault::escape(name)
                ));
            }
        }
        match keywords.get("description") {
            None | Some(Json::Text(_)) => Ok(()),
            Some(_) => self.fail("`description` must be text"),
        }
    }

    fn object(
        &mut self,
        keywords: &Keywords,
        category: Option<&str>,
        depth: usize,
    ) -> Result<Node, SchemaError> {
        self.known(keywords, &["properties", "required", "additionalProperties"])?;
        if keywords.get("additionalProperties") != Some(&Json::Bool(false)) {
            return self.fail("an object needs \"additionalProperties\": false");
        }
        let Some(Json::Object(properties)) = keywords.get("properties") else {
            return self.fail("an object needs `properties`");
        };
        if properties.is_empty() || properties.len() > FIELD_NAMES_MAX {
            return self.fail(format!("an object has 1 to {FIELD_NAMES_MAX} properties"));
        }
        let mut required = BTreeSet::new();
        match keywords.get("required") {
            None => {}
            Some(Json::List(names)) => {
                for name in names {
                    let known = name.as_text().is_some_and(|name| properties.contains_key(name));
                    if !known || !required.insert(name.as_text().unwrap_or_default()) {
                        return self.fail("`required` must list names from `properties`, each once");
                    }
                }
            }
            Some(_) => return self.fail("`required` must be a list of names"),
        }
        let mut nodes = BTreeMap::new();
        for (name, schema) in properties {
            let node = self.under("properties", |reader| {
                reader.under(name, |reader| {
                    if !is_code(name) {
                        return reader.fail("a field's name is 1 to 64 characters of a-z, 0-9 and _");
                    }
                    reader.node(schema, category, depth)
                })
            })?;
            nodes.insert(name.clone(), Property { required: required.contains(name.as_str()), node });
        }
        Ok(Node::Object(nodes))
    }

    fn array(
        &mut self,
        keywords: &Keywords,
        category: Option<&str>,
        depth: usize,
    ) -> Result<Node, SchemaError> {
        self.known(keywords, &["items", "minItems", "maxItems"])?;
        let (min, max) = self.bounds(keywords, "minItems", "maxItems", FIELD_ITEMS_MAX)?;
        let Some(items) = keywords.get("items") else { return self.fail("an array needs `items`") };
        let item = self.under("items", |reader| reader.node(items, category, depth))?;
        Ok(Node::List { item: Box::new(item), min, max })
    }

    fn leaf(
        &mut self,
        keywords: &Keywords,
        category: Option<&str>,
        rule: impl FnOnce(&Self, &Keywords) -> Result<Rule, SchemaError>,
    ) -> Result<Node, SchemaError> {
        let Some(category) = category else {
            return self.fail("has no data category: add `x-category` here or on an object around it");
        };
        self.categories.insert(category.to_owned());
        let rule = rule(self, keywords)?;
        let subject = match (keywords.get("x-subject"), &rule) {
            (None, _) => None,
            (Some(Json::Text(scope)), Rule::Text { .. } | Rule::Date) if scope == "case" => Some(Scope::Case),
            (Some(Json::Text(scope)), Rule::Text { .. } | Rule::Date) if scope == "always" => {
                Some(Scope::Always)
            }
            (Some(_), _) => return self.fail("`x-subject` must be case or always, at a text or a date"),
        };
        let index = self.categories.iter().position(|code| code == category).unwrap_or_default();
        Ok(Node::Leaf { category: index, rule, subject })
    }

    fn text(&self, keywords: &Keywords) -> Result<Rule, SchemaError> {
        self.known(keywords, &["enum", "const", "minLength", "maxLength", "format", "x-subject"])?;
        if let Some(values) = self.values(keywords, &["minLength", "maxLength", "format"])? {
            let texts = values.iter().map(|value| value.as_text().map(str::to_owned));
            return match texts.collect::<Option<Vec<_>>>() {
                Some(texts) => Ok(Rule::OneOf(texts)),
                None => self.fail("`enum` and `const` of a string must be text"),
            };
        }
        match keywords.get("format") {
            None => {
                let (min, max) = self.bounds(keywords, "minLength", "maxLength", FIELD_TEXT_MAX)?;
                Ok(Rule::Text { min, max })
            }
            Some(_) if keywords.contains_key("minLength") || keywords.contains_key("maxLength") => {
                self.fail("`format` goes without `minLength` and `maxLength`")
            }
            Some(Json::Text(format)) if format == "date" => Ok(Rule::Date),
            Some(Json::Text(format)) if format == "date-time" => Ok(Rule::DateTime),
            Some(_) => self.fail("`format` must be date or date-time"),
        }
    }

    fn integer(&self, keywords: &Keywords) -> Result<Rule, SchemaError> {
        self.known(keywords, &["enum", "const", "minimum", "maximum"])?;
        if let Some(values) = self.values(keywords, &["minimum", "maximum"])? {
            let numbers = values.iter().map(Json::as_integer);
            return match numbers.collect::<Option<Vec<_>>>() {
                Some(numbers) => Ok(Rule::OneNumberOf(numbers)),
                None => self.fail("`enum` and `const` of an integer must be whole numbers"),
            };
        }
        match (keywords.get("minimum"), keywords.get("maximum")) {
            (Some(Json::Integer(min)), Some(Json::Integer(max))) if min <= max => {
                Ok(Rule::Integer { min: *min, max: *max })
            }
            _ => self.fail("an integer needs `minimum` and `maximum`, whole numbers in that order"),
        }
    }

    fn boolean(&self, keywords: &Keywords) -> Result<Rule, SchemaError> {
        self.known(keywords, &["const"])?;
        match keywords.get("const") {
            None => Ok(Rule::Boolean(None)),
            Some(Json::Bool(value)) => Ok(Rule::Boolean(Some(*value))),
            Some(_) => self.fail("`const` of a boolean must be true or false"),
        }
    }

    /// The values of `enum` or `const`, which stand alone: bounds beside them would be a rule nobody reads.
    fn values<'k>(&self, keywords: &'k Keywords, others: &[&str]) -> Result<Option<&'k [Json]>, SchemaError> {
        let values = match (keywords.get("enum"), keywords.get("const")) {
            (None, None) => return Ok(None),
            (Some(Json::List(values)), None) => values.as_slice(),
            (None, Some(value)) => core::slice::from_ref(value),
            (Some(_), _) => return self.fail("`enum` must be a list, without `const` beside it"),
        };
        let repeated =
            values.iter().enumerate().any(|(index, one)| values.iter().take(index).any(|v| v == one));
        if values.is_empty() || values.len() > FIELD_NAMES_MAX || repeated {
            return self.fail(format!("`enum` lists 1 to {FIELD_NAMES_MAX} different values"));
        }
        match others.iter().find(|name| keywords.contains_key(**name)) {
            Some(name) => self.fail(format!("`{name}` goes without `enum` and `const`")),
            None => Ok(Some(values)),
        }
    }

    fn bounds(
        &self,
        keywords: &Keywords,
        least: &str,
        most: &str,
        limit: u64,
    ) -> Result<(u64, u64), SchemaError> {
        let read =
            |name: &str| keywords.get(name)?.as_integer().and_then(|number| u64::try_from(number).ok());
        let min = if keywords.contains_key(least) { read(least) } else { Some(0) };
        match (min, read(most)) {
            (Some(min), Some(max)) if min <= max && max <= limit && max > 0 => Ok((min, max)),
            _ => self.fail(format!(
                "needs `{most}` from 1 to {limit}, and `{least}`, if it stands there, not above it"
            )),
        }
    }
}
