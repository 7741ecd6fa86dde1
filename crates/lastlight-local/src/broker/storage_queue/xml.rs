//! Reads and writes the XML of the queue service.

use std::collections::BTreeMap;

use quick_xml::{
    Reader,
    escape::{escape, resolve_xml_entity},
    events::Event,
};

use super::{super::http_time::http_time, QueueMessage};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>";

/// Which fields of a message an answer contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Put,
    Received,
    Peeked,
}

/// The text in `<QueueMessage><MessageText>…`, with blanks and line ends unchanged; `None` if there
/// is no such element.
pub(super) fn message_text(body: &[u8]) -> Result<Option<String>, String> {
    let document = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let mut reader = Reader::from_str(document);
    let mut text = None;
    let mut is_inside = false;
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(element) if element.name().as_ref() == b"MessageText" => {
                is_inside = true;
                text.get_or_insert_with(String::new);
            }
            Event::Empty(element) if element.name().as_ref() == b"MessageText" => {
                text.get_or_insert_with(String::new);
            }
            Event::End(element) if element.name().as_ref() == b"MessageText" => is_inside = false,
            Event::Eof if is_inside => return Err("MessageText does not end".to_owned()),
            Event::Eof => return Ok(text),
            event if is_inside => {
                if let Some(text) = &mut text {
                    push_text(text, &event)?;
                }
            }
            _ => {}
        }
    }
}

fn push_text(text: &mut String, event: &Event<'_>) -> Result<(), String> {
    match event {
        Event::Text(part) => text.push_str(&part.decode().map_err(|error| error.to_string())?),
        Event::CData(part) => text.push_str(&part.decode().map_err(|error| error.to_string())?),
        Event::GeneralRef(reference) => {
            if let Some(character) =
                reference.resolve_char_ref().map_err(|error| error.to_string())?
            {
                text.push(character);
                return Ok(());
            }
            let name = reference.decode().map_err(|error| error.to_string())?;
            let known = resolve_xml_entity(&name).ok_or_else(|| format!("&{name}; is unknown"))?;
            text.push_str(known);
        }
        Event::Comment(_) | Event::PI(_) => {}
        _ => return Err("MessageText contains an element; text must be escaped".to_owned()),
    }
    Ok(())
}

/// `<QueueMessagesList>`.
pub(super) fn messages(messages: &[QueueMessage], shape: Shape) -> String {
    let texts: usize = messages.iter().map(|message| message.body.len() + 512).sum();
    let mut xml = String::with_capacity(128 + texts);
    xml.push_str(DECLARATION);
    xml.push_str("<QueueMessagesList>");
    for message in messages {
        xml.push_str("<QueueMessage>");
        element(&mut xml, "MessageId", &message.id);
        element(&mut xml, "InsertionTime", &http_time(message.insertion_time));
        element(&mut xml, "ExpirationTime", &http_time(message.expiration_time));
        if shape != Shape::Peeked {
            element(&mut xml, "PopReceipt", &message.pop_receipt);
            element(&mut xml, "TimeNextVisible", &http_time(message.next_visible_time));
        }
        if shape != Shape::Put {
            element(&mut xml, "DequeueCount", &message.dequeue_count.to_string());
            element(&mut xml, "MessageText", &message.body);
        }
        xml.push_str("</QueueMessage>");
    }
    xml.push_str("</QueueMessagesList>");
    xml
}

/// `<EnumerationResults>` of `comp=list`, with metadata if requested.
pub(super) fn queues(
    endpoint: &str,
    prefix: &str,
    queues: impl Iterator<Item = (String, Option<BTreeMap<String, String>>)>,
    next_marker: &str,
) -> String {
    let mut xml =
        format!("{DECLARATION}<EnumerationResults ServiceEndpoint=\"{}\">", escape(endpoint));
    element(&mut xml, "Prefix", prefix);
    xml.push_str("<Queues>");
    for (name, metadata) in queues {
        xml.push_str("<Queue>");
        element(&mut xml, "Name", &name);
        if let Some(metadata) = metadata {
            xml.push_str("<Metadata>");
            for (name, value) in &metadata {
                element(&mut xml, name, value);
            }
            xml.push_str("</Metadata>");
        }
        xml.push_str("</Queue>");
    }
    xml.push_str("</Queues>");
    element(&mut xml, "NextMarker", next_marker);
    xml.push_str("</EnumerationResults>");
    xml
}

/// `<Error>`.
pub(super) fn error(code: &str, message: &str) -> String {
    let mut xml = format!("{DECLARATION}<Error>");
    element(&mut xml, "Code", code);
    element(&mut xml, "Message", message);
    xml.push_str("</Error>");
    xml
}

fn element(xml: &mut String, name: &str, value: &str) {
    let escaped = escape(value);
    // An unescaped carriage return would reach the client as a line feed: XML normalizes line ends.
    let safe = match escaped.contains('\r') {
        true => escaped.replace('\r', "&#xD;").into(),
        false => escaped,
    };
    for part in ["<", name, ">", &*safe, "</", name, ">"] {
        xml.push_str(part);
    }
}
