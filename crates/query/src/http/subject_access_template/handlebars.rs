//! As much of Handlebars as the template has, with the helpers of HMPPS's service, for tests.
//! Engines differ in where they look for a name that the context lacks, so this one does either.

use serde_json::Value;

/// Where an engine looks for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// In the innermost context alone, as Handlebars does in JavaScript.
    InContext,
    /// In the contexts around it, too, as Mustache does, and Handlebars in Java.
    InParents,
}

/// The text of an absent value.
const ABSENT: &str = "No Data Held";

#[derive(Debug)]
enum Node<'t> {
    Text(&'t str),
    Value(&'t str),
    /// A block for each value of a list, or with an object as its context.
    Section(&'t str, Vec<Node<'t>>),
    /// A block for an absent value or an empty list.
    Inverted(&'t str, Vec<Node<'t>>),
    If(&'t str, Vec<Node<'t>>, Vec<Node<'t>>),
}

/// Renders a template with a context.
pub(super) fn render(template: &str, context: &Value, lookup: Lookup) -> String {
    let mut rest = template;
    let (nodes, end) = parse(&mut rest);
    assert_eq!(end, "", "every block ends");
    let mut out = String::new();
    render_nodes(&nodes, &mut vec![context], lookup, &mut out);
    out
}

/// The nodes up to the tag that ends their block, and that tag.
fn parse<'t>(rest: &mut &'t str) -> (Vec<Node<'t>>, &'t str) {
    let mut nodes = Vec::new();
    while let Some((text, after)) = rest.split_once("{{") {
        let (tag, after) = after.split_once("}}").expect("a tag ends");
        let tag = tag.trim();
        *rest = after;
        nodes.push(Node::Text(text));
        if let Some(condition) = tag.strip_prefix("#if ") {
            let (then, end) = parse(rest);
            let (otherwise, end) = if end == "else" { parse(rest) } else { (Vec::new(), end) };
            assert_eq!(end, "/if");
            nodes.push(Node::If(condition, then, otherwise));
        } else if let Some(name) = tag.strip_prefix(['#', '^']) {
            let (body, end) = parse(rest);
            assert_eq!(end.strip_prefix('/'), Some(name));
            nodes.push(if tag.starts_with('#') { Node::Section(name, body) } else { Node::Inverted(name, body) });
        } else if tag.starts_with('/') || tag == "else" {
            return (nodes, tag);
        } else {
            nodes.push(Node::Value(tag));
        }
    }
    nodes.push(Node::Text(std::mem::take(rest)));
    (nodes, "")
}

fn render_nodes(nodes: &[Node<'_>], contexts: &mut Vec<&Value>, lookup: Lookup, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Value(expression) => out.push_str(&text_of(&evaluate(expression, contexts, lookup))),
            Node::If(condition, then, otherwise) => {
                let is_met = is_true(&evaluate(condition, contexts, lookup));
                render_nodes(if is_met { then } else { otherwise }, contexts, lookup, out);
            }
            Node::Inverted(name, body) => {
                if !is_true(find(name, contexts, lookup)) {
                    render_nodes(body, contexts, lookup, out);
                }
            }
            Node::Section(name, body) => {
                let value = find(name, contexts, lookup);
                let each = match value {
                    Value::Array(values) => values.iter().collect(),
                    value if is_true(value) => vec![value],
                    _ => Vec::new(),
                };
                for context in each {
                    contexts.push(context);
                    render_nodes(body, contexts, lookup, out);
                    contexts.pop();
                }
            }
        }
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(_) => true,
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// The value of a path such as `data.pom.surname`.
fn find<'c>(path: &str, contexts: &[&'c Value], lookup: Lookup) -> &'c Value {
    let in_context = |context: &'c Value| match path {
        "." => Some(context),
        path => path.split('.').try_fold(context, |value, member| value.get(member)).filter(|value| !value.is_null()),
    };
    let searched = match lookup {
        Lookup::InContext => &contexts[contexts.len() - 1..],
        Lookup::InParents => contexts,
    };
    searched.iter().rev().find_map(|context| in_context(context)).unwrap_or(&Value::Null)
}

/// The value of `name`, or of a helper and its arguments, of which one may be a helper in brackets.
fn evaluate(expression: &str, contexts: &[&Value], lookup: Lookup) -> Value {
    let expression = expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(expression);
    let Some((helper, arguments)) = expression.split_once(' ') else {
        return find(expression, contexts, lookup).clone();
    };
    if helper == "eq" {
        let (name, text) = arguments.split_once(' ').expect("two arguments");
        return Value::Bool(*find(name, contexts, lookup) == text.trim_matches('"'));
    }
    let value = evaluate(arguments, contexts, lookup);
    match (helper, value) {
        ("convertBoolean", Value::Bool(value)) => if value { "Yes" } else { "No" }.into(),
        ("formatDate", value) => value,
        ("optionalValue" | "convertBoolean", Value::Null) => ABSENT.into(),
        ("optionalValue" | "getPrisonName" | "convertCamelCase", value) => value,
        (helper, value) => panic!("{helper} of {value}"),
    }
}
