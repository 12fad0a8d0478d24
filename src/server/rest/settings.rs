//! `/config`: the settings in force, and where each came from.

use serde::Serialize;

use super::Api;
use crate::config::Setting;
use crate::server::http::Response;

#[derive(Serialize)]
struct Settings<'a> {
    settings: &'a [Setting],
}

impl Api {
    pub(super) fn show_settings(&self) -> Response {
        let settings = &self.settings;
        Response::json(200, &Settings { settings })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Server, get};

    #[test]
    fn the_settings_are_those_the_server_was_given() {
        let server = Server::with_max_topics(7);
        let shown = server.json(&get("/config"));
        let settings = shown["settings"].as_array().unwrap();
        let chosen: Vec<_> = settings
            .iter()
            .filter(|setting| setting["source"] != "default")
            .map(|setting| setting.to_string())
            .collect();
        let max_topics = r#"{"default":100000,"flag":"--max-topics","name":"PUBSUB_MAX_TOPICS","source":"program","value":7}"#;
        assert_eq!(chosen, [max_topics]);
    }
}
