//! The XML of the queue service.

use quick_xml::escape::escape;
use serde::Deserialize;
use time::{OffsetDateTime, macros::format_description};

use super::QueueMessage;

/// Which of a message's fields an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Put,
    Received,
    Peeked,
}

/// `Mon, 23 Nov 2026 19:00:00 GMT`.
pub(super) fn http_time(moment: OffsetDateTime) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    moment.format(format).unwrap_or_default()
}

#[derive(Deserialize)]
struct PutMessage {
    #[serde(rename = "MessageText", default)]
    text: String,
}

/// The text in `<QueueMessage><MessageText>…`.
pub(super) fn message_text(body: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    quick_xml::de::from_str::<PutMessage>(text)
        .map(|message| message.text)
        .map_err(|error| error.to_string())
}

/// `<QueueMessagesList>`.
pub(super) fn messages(messages: &[QueueMessage], shape: Shape) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessagesList>");
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

fn element(xml: &mut String, name: &str, value: &str) {
    for part in ["<", name, ">", &*escape(value), "</", name, ">"] {
        xml.push_str(part);
    }
}

/// `<EnumerationResults>` of `comp=list`.
pub(super) fn queues(endpoint: &str, names: &[String]) -> String {
    let queues: String = names
        .iter()
        .map(|name| format!("<Queue><Name>{}</Name></Queue>", escape(name)))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"{}\"><Queues>{queues}</Queues>\
         <NextMarker/></EnumerationResults>",
        escape(endpoint)
    )
}

/// `<Error>`.
pub(super) fn error(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{}</Message></Error>",
        escape(message)
    )
}
