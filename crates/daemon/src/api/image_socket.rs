//! `/images/create` and `/images/build`: one image over a websocket.

use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade, close_code};
use axum::response::Response;
use kleene_model::api::{ImageCreateConfig, MessageType};
use serde::de::IgnoredAny;

use super::App;
use super::socket::{CLOSE_BAD_CONFIG, Client, accept};

pub(super) async fn image_create(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    accept(app, upgrade, async |app, mut client| create(&app, &mut client).await)
}

async fn create(app: &App, client: &mut Client) {
    let Some(request) = client.config::<ImageCreateConfig>(refuse).await else { return };
    client.starting().await;
    // Whatever becomes of the client, it is made: as 0.1.1 does it.
    let mut making = app.images.make(&app.core, &app.config, request);
    let made = loop {
        tokio::select! {
            said = making.said.recv() => match said {
                Some(line) => client.say(format!("{line}\n")).await,
                // Whoever made it says nothing more.
                None => break (&mut making.made).await,
            },
            // Whether it still is there, and what it asks by pings.
            heard = client.socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            () = app.ending.cancelled() => {
                let text = "kleened ends; the image may be missing";
                return client.close(close_code::ERROR, MessageType::Error, text).await;
            }
        }
    };
    match made.unwrap_or_else(|_| Err("it ended unexpectedly".to_owned())) {
        Ok(id) => {
            let (closing, id) = (MessageType::Closing, id.to_string());
            client.close_with(close_code::NORMAL, closing, "image created", &id).await;
        }
        Err(why) => {
            client.say(format!("{why}\n")).await;
            let text = format!("image creation failed: {why}");
            client.close(close_code::ERROR, MessageType::Error, &text).await;
        }
    }
}

/// Tells of a configuration that cannot be read.
async fn refuse(client: &mut Client, detail: String) {
    client.say(format!("{detail}\n")).await;
    client.close(CLOSE_BAD_CONFIG, MessageType::Error, "invalid parameters").await;
}

pub(super) async fn image_build(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    accept(app, upgrade, async |_, mut client: Client| {
        if client.config::<IgnoredAny>(refuse).await.is_none() {
            return;
        }
        client.starting().await;
        let why = "image builds are unsupported in this version";
        client.say(format!("error: unsupported: {why}\n")).await;
        client.close(close_code::ERROR, MessageType::Error, why).await;
    })
}
