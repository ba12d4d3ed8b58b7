//! The websockets of what this version does not do. Existing clients connect
//! first and read the reason from the close frame.

use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade, close_code};
use axum::response::Response;
use kleene_model::api::{MessageType, WebSocketMessage};

pub(super) async fn image_build(upgrade: WebSocketUpgrade) -> Response {
    refuse(upgrade, "image builds are unsupported in this version")
}

pub(super) async fn image_create(upgrade: WebSocketUpgrade) -> Response {
    refuse(upgrade, "image creation is unsupported; the image 'host-usr' is built in")
}

fn refuse(upgrade: WebSocketUpgrade, why: &'static str) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        // 0.1.1's clients print text frames and expect a first JSON message.
        let message = |kind, text: &str| WebSocketMessage {
            data: String::new(),
            message: text.to_owned(),
            msg_type: kind,
        };
        let starting = serde_json::to_string(&message(MessageType::Starting, ""));
        let close = CloseFrame {
            code: close_code::ERROR,
            reason: message(MessageType::Error, why).close_reason().into(),
        };
        let frames = [
            Message::Text(starting.unwrap_or_default().into()),
            Message::Text(format!("error: unsupported: {why}\n").into()),
            Message::Close(Some(close)),
        ];
        // The configuration comes first; what it says does not matter.
        if socket.recv().await.is_none() {
            return;
        }
        for frame in frames {
            if socket.send(frame).await.is_err() {
                return;
            }
        }
        while let Some(Ok(_)) = socket.recv().await {}
    })
}
