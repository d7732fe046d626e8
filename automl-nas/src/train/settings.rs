//! The settings of a final training: those of the search, and what a config's section `final` says differently.

use automl_core::serde_json::{self, Map, Value};
use automl_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Device, Language, Recipe};
use crate::images::ImageData;
use crate::network::Design;
use crate::text::TextData;

/// Data, network and recipe of a training.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// The images, or …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageData>,
    /// … the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextData>,
    /// The network around a cell for images.
    pub network: Design,
    /// The language model around a recurrent cell.
    pub language: Language,
    /// How it is trained.
    pub recipe: Recipe,
    /// Where it is trained.
    pub device: Device,
}

impl Training {
    /// Checks the settings, before any data is read.
    ///
    /// # Errors
    /// [`Error::Config`] that names the setting.
    pub fn check(&self) -> Result<()> {
        self.recipe.check("final.recipe")?;
        self.language.check("final.language")?;
        if self.text.is_some() {
            self.device.check_for_text("final.device")?;
        }
        self.device.check("final.device")
    }
}

/// The section `final` of a config: how the best candidate is trained to the end. What it leaves out is as in the search, but all
/// images are trained on, and none validate, unless it says so; of a text, all that is there to learn from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Final {
    /// Share of the time limit of a search that is kept for the final training; default 0.4.
    pub time_share: f64,
    /// Settings of the images.
    #[serde(deserialize_with = "part::<_, ImageData>", skip_serializing_if = "Map::is_empty")]
    pub images: Map<String, Value>,
    /// Settings of the text.
    #[serde(deserialize_with = "part::<_, TextData>", skip_serializing_if = "Map::is_empty")]
    pub text: Map<String, Value>,
    /// Settings of the network.
    #[serde(deserialize_with = "part::<_, Design>", skip_serializing_if = "Map::is_empty")]
    pub network: Map<String, Value>,
    /// Settings of the language model.
    #[serde(deserialize_with = "part::<_, Language>", skip_serializing_if = "Map::is_empty")]
    pub language: Map<String, Value>,
    /// Settings of the training.
    #[serde(deserialize_with = "part::<_, Recipe>", skip_serializing_if = "Map::is_empty")]
    pub recipe: Map<String, Value>,
    /// Where it is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
}

impl Default for Final {
    fn default() -> Self {
        let none = Map::new;
        Self { time_share: 0.4, images: none(), text: none(), network: none(), language: none(), recipe: none(), device: None }
    }
}

/// Some settings of a type, checked as such.
fn part<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> std::result::Result<Map<String, Value>, D::Error> {
    let fields = Map::<String, Value>::deserialize(deserializer)?;
    serde_json::from_value::<T>(Value::Object(fields.clone())).map_err(serde::de::Error::custom)?;
    Ok(fields)
}

impl Final {
    /// The settings of the final training after a search by an evaluator, as the config writes it: its fields of the same names
    /// count, if it has them.
    ///
    /// # Errors
    /// [`Error::Config`] where neither images nor a text are named, or both.
    pub fn over(&self, evaluator: &Value) -> Result<Training> {
        if !(0.0..0.95).contains(&self.time_share) {
            return Err(Error::config("final.time_share", format!("is {}; it is a share below 0.95", self.time_share)));
        }
        let below = |name: &str, own: &Map<String, Value>| {
            let mut fields = evaluator.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
            merge(&mut fields, own);
            Value::Object(fields)
        };
        let all = |own: &Map<String, Value>, names: &[&str]| {
            let mut own = own.clone();
            for name in names {
                own.entry(*name).or_insert(0.into());
            }
            own
        };
        let named = |name: &str, own: &Map<String, Value>| {
            let has = |fields: &Map<String, Value>| fields.contains_key("folder");
            has(own) || evaluator.get(name).and_then(Value::as_object).is_some_and(has)
        };
        let has = [named("images", &self.images), named("text", &self.text)];
        if has[0] == has[1] {
            let problem = match has[0] {
                true => "stands beside a text: a network is trained on one of the two",
                false => {
                    "is missing: neither the evaluator nor `final` names images or a text; add `[final.images]` or `[final.text]` \
                     with `folder = \"…\"`"
                }
            };
            return Err(Error::config("final.images.folder", problem));
        }
        let read = |error: serde_json::Error| Error::config("final", error.to_string());
        let (images, text) = (all(&self.images, &["rows", "validation"]), all(&self.text, &["tokens"]));
        let training = Training {
            images: has[0].then(|| serde_json::from_value(below("images", &images))).transpose().map_err(read)?,
            text: has[1].then(|| serde_json::from_value(below("text", &text))).transpose().map_err(read)?,
            network: serde_json::from_value(below("network", &self.network)).map_err(read)?,
            language: serde_json::from_value(below("language", &self.language)).map_err(read)?,
            recipe: serde_json::from_value(below("recipe", &self.recipe)).map_err(read)?,
            device: match (self.device, evaluator.get("device")) {
                (Some(device), _) => device,
                (None, Some(device)) => serde_json::from_value(device.clone()).map_err(read)?,
                (None, None) => Device::default(),
            },
        };
        Ok(training)
    }
}

/// Lays fields over others, table by table; a table of another `type` replaces all of the old one.
fn merge(to: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, value) in from {
        match (to.get_mut(name), value) {
            (Some(Value::Object(old)), Value::Object(new)) if new.get("type").is_none_or(|tag| old.get("type") == Some(tag)) => {
                merge(old, new);
            }
            _ => {
                to.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use automl_core::serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_is_as_in_the_search() {
        let evaluator = json!({
            "type": "train",
            "device": "cuda",
            "images": { "folder": "here", "rows": 500, "validation": 0.2, "seed": 3 },
            "network": { "cells": 1, "channels": 4 },
            "recipe": { "epochs": 2, "augment": { "flip": true, "crop": 4 }, "schedule": { "shape": { "type": "constant" } } },
        });
        let last: Final = serde_json::from_value(json!({
            "network": { "cells": 2 },
            "recipe": { "epochs": 9, "augment": { "crop": 2 }, "schedule": { "shape": { "type": "cosine" } } },
        }))
        .unwrap();
        let Training { images, text, network, recipe, device, .. } = last.over(&evaluator).unwrap();
        let images = images.unwrap();
        assert_eq!((images.rows, images.validation, images.seed, text), (0, 0.0, 3, None));
        assert_eq!((network.cells, network.channels), (Some(2), Some(4)));
        assert_eq!((recipe.epochs, recipe.augment.crop, recipe.augment.flip), (9, 2, true));
        assert_eq!(recipe.schedule, crate::tensor::Schedule::default());
        assert_eq!(device, Device::Cuda);
        let kept: Final = serde_json::from_value(json!({ "images": { "validation": 0.1 } })).unwrap();
        assert_eq!(kept.over(&evaluator).unwrap().images.unwrap().validation, 0.1);
        let evaluator =
            json!({ "type": "train", "text": { "folder": "there", "tokens": 90, "vocabulary": 7 }, "language": { "units": 9 } });
        let Training { images, text, language, .. } = Final::default().over(&evaluator).unwrap();
        let text = text.unwrap();
        assert_eq!((images, text.tokens, text.vocabulary, language.units), (None, 0, 7, 9));
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |value: Value| serde_json::from_value::<Final>(value).unwrap_err().to_string();
        assert!(refused(json!({ "recipe": { "epoch": 9 } })).contains("unknown field `epoch`"));
        assert!(refused(json!({ "network": { "cells": "many" } })).contains("many"));
        assert!(refused(json!({ "epochs": 9 })).contains("epochs"));
        let table = json!({ "type": "table" });
        assert!(Final::default().over(&table).unwrap_err().to_string().contains("final.images.folder"));
        let both = json!({ "images": { "folder": "here" }, "text": { "folder": "there" } });
        assert!(Final::default().over(&both).unwrap_err().to_string().contains("one of the two"));
        let long: Final = serde_json::from_value(json!({ "time_share": 1.0 })).unwrap();
        assert!(long.over(&table).unwrap_err().to_string().contains("time_share"));
        let wrong: Final = serde_json::from_value(json!({ "images": { "folder": "x" }, "recipe": { "epochs": 0 } })).unwrap();
        assert!(wrong.over(&table).unwrap().check().unwrap_err().to_string().contains("final.recipe.epochs"));
        let card: Final = serde_json::from_value(json!({ "text": { "folder": "x" }, "device": "cuda" })).unwrap();
        assert!(card.over(&table).unwrap().check().unwrap_err().to_string().contains("recurrent cells"));
    }
}
