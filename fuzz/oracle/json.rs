//! JSON by the grammar of RFC 8259, with the text of every value.

use crate::reader::Reader;

pub struct Node<'a> {
    /// The text of the value, without surrounding whitespace.
    pub text: &'a str,
    pub value: Value<'a>,
    /// The number of brackets around the innermost value.
    pub depth: usize,
}

pub enum Value<'a> {
    Null,
    Bool,
    Number,
    /// `None` if an escape is half a surrogate pair, which is not text.
    String(Option<String>),
    Array(Vec<Node<'a>>),
    /// In order, including repeated keys.
    Object(Vec<(Option<String>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// The text of a string value.
    pub fn string(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => text.as_deref(),
            _ => None,
        }
    }

    /// The value of a key that occurs once.
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        match &self.value {
            Value::Object(members) => {
                let mut named = members
                    .iter()
                    .filter(|(key, _)| key.as_deref() == Some(name));
                named.next().map(|(_, node)| node)
            }
            _ => None,
        }
    }
}

/// Parses a whole text.
pub fn parse(text: &str) -> Option<Node<'_>> {
    let mut reader = Reader::new(text.as_bytes());
    let node = padded(text, &mut reader)?;
    reader.peek().is_none().then_some(node)
}

fn padded<'a>(text: &'a str, reader: &mut Reader<'a>) -> Option<Node<'a>> {
    blanks(reader);
    let begin = reader.at();
    let (value, depth) = value(text, reader)?;
    let text = &text[begin..reader.at()];
    blanks(reader);
    Some(Node { text, value, depth })
}

fn blanks(reader: &mut Reader) {
    reader.take_while(|byte| b" \t\r\n".contains(&byte));
}

fn value<'a>(text: &'a str, reader: &mut Reader<'a>) -> Option<(Value<'a>, usize)> {
    match reader.peek()? {
        b'n' => word(reader, b"null").map(|()| (Value::Null, 0)),
        b't' => word(reader, b"true").map(|()| (Value::Bool, 0)),
        b'f' => word(reader, b"false").map(|()| (Value::Bool, 0)),
        b'"' => string(text, reader).map(|text| (Value::String(text), 0)),
        b'[' => array(text, reader),
        b'{' => object(text, reader),
        _ => number(reader).map(|()| (Value::Number, 0)),
    }
}

fn word(reader: &mut Reader, word: &[u8]) -> Option<()> {
    (reader.take(word.len())? == word).then_some(())
}

fn number(reader: &mut Reader) -> Option<()> {
    let digits = |reader: &mut Reader| !reader.take_while(|byte| byte.is_ascii_digit()).is_empty();
    reader.skip(b'-');
    if !reader.skip(b'0') && !digits(reader) {
        return None;
    }
    if reader.skip(b'.') && !digits(reader) {
        return None;
    }
    if reader.skip(b'e') || reader.skip(b'E') {
        let _sign = reader.skip(b'+') || reader.skip(b'-');
        return digits(reader).then_some(());
    }
    Some(())
}

fn array<'a>(text: &'a str, reader: &mut Reader<'a>) -> Option<(Value<'a>, usize)> {
    let (mut items, mut depth) = (Vec::new(), 0);
    reader.skip(b'[');
    blanks(reader);
    if reader.skip(b']') {
        return Some((Value::Array(items), 1));
    }
    loop {
        let item = padded(text, reader)?;
        depth = depth.max(item.depth);
        items.push(item);
        match reader.next()? {
            b',' => {}
            b']' => return Some((Value::Array(items), depth + 1)),
            _ => return None,
        }
    }
}

fn object<'a>(text: &'a str, reader: &mut Reader<'a>) -> Option<(Value<'a>, usize)> {
    let (mut members, mut depth) = (Vec::new(), 0);
    reader.skip(b'{');
    blanks(reader);
    if reader.skip(b'}') {
        return Some((Value::Object(members), 1));
    }
    loop {
        blanks(reader);
        let key = string(text, reader)?;
        blanks(reader);
        if !reader.skip(b':') {
            return None;
        }
        let member = padded(text, reader)?;
        depth = depth.max(member.depth);
        members.push((key, member));
        match reader.next()? {
            b',' => {}
            b'}' => return Some((Value::Object(members), depth + 1)),
            _ => return None,
        }
    }
}

/// The text of a string, with its escapes decoded through UTF-16.
fn string(text: &str, reader: &mut Reader) -> Option<Option<String>> {
    if !reader.skip(b'"') {
        return None;
    }
    let mut units: Vec<u16> = Vec::new();
    loop {
        let begin = reader.at();
        reader.take_while(|byte| byte != b'"' && byte != b'\\' && byte >= b' ');
        units.extend(text[begin..reader.at()].encode_utf16());
        match reader.next()? {
            b'"' => return Some(String::from_utf16(&units).ok()),
            b'\\' => units.push(escape(reader)?),
            _ => return None,
        }
    }
}

fn escape(reader: &mut Reader) -> Option<u16> {
    Some(match reader.next()? {
        b'b' => 8,
        b't' => 9,
        b'n' => 10,
        b'f' => 12,
        b'r' => 13,
        byte @ (b'"' | b'\\' | b'/') => byte.into(),
        b'u' => {
            let digits = reader.take(4)?;
            let all_hex = digits.iter().all(u8::is_ascii_hexdigit);
            let digits = std::str::from_utf8(digits).ok().filter(|_| all_hex)?;
            u16::from_str_radix(digits, 16).ok()?
        }
        _ => return None,
    })
}
