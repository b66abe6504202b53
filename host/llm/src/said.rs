//! A script's conversation as it was last sent. A question that goes on with it is compared, hashed and kept only as far as it
//! is new.

use serde::Serialize;
use sha2::{Digest, Sha256};
use triggerbox_model::call::{LlmMessage, LlmRequest, Tool};

/// What was said so far, with the hash of it.
#[derive(Default)]
pub(crate) struct Said {
    messages: Vec<LlmMessage>,
    hash: Sha256,
    /// The tools that were offered last, with their hash.
    tools: (Vec<Tool>, [u8; 32]),
}

impl Said {
    /// Takes a question in: how many of its messages were said before. A conversation that starts anew is new from its first.
    pub(crate) fn take(&mut self, request: &LlmRequest) -> usize {
        let same = self.messages.iter().zip(&request.messages).take_while(|(before, now)| before == now).count();
        let same = if same == self.messages.len() { same } else { 0 };
        if same == 0 {
            self.messages.clear();
            self.hash = Sha256::new();
        }
        let new = request.messages.get(same..).unwrap_or_default();
        new.iter().for_each(|message| add(&mut self.hash, message));
        self.messages.extend_from_slice(new);
        if self.tools.0 != request.tools {
            let mut hash = Sha256::new();
            request.tools.iter().for_each(|tool| add(&mut hash, tool));
            self.tools = (request.tools.clone(), hash.finalize().into());
        }
        same
    }

    /// The hash of the question that was taken in last, of this script of the run.
    pub(crate) fn hash(&self, script: &str, request: &LlmRequest) -> [u8; 32] {
        let mut hash = self.hash.clone();
        let LlmRequest { model, output_schema, temperature, max_tokens, messages: _, tools: _ } = request;
        add(&mut hash, &(script, model, output_schema, temperature, max_tokens));
        hash.update(self.tools.1);
        hash.finalize().into()
    }
}

/// JSON has no line breaks of its own: where one part ends and the next begins is never in doubt.
fn add<T: Serialize>(hash: &mut Sha256, part: &T) {
    hash.update(serde_json::to_vec(part).unwrap_or_default());
    hash.update(b"\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(messages: &[&str]) -> LlmRequest {
        let messages = messages.iter().map(|text| LlmMessage::User((*text).to_owned())).collect();
        LlmRequest {
            model: None,
            messages,
            tools: Vec::new(),
            output_schema: None,
            temperature: None,
            max_tokens: None,
        }
    }

    #[test]
    fn a_question_has_the_same_hash_whatever_was_said_before_it() {
        let long = request(&["a", "b", "c"]);
        let mut at_once = Said::default();
        assert_eq!(at_once.take(&long), 0);
        let mut step_by_step = Said::default();
        assert_eq!(step_by_step.take(&request(&["a"])), 0);
        assert_eq!(step_by_step.take(&request(&["a", "b"])), 1);
        assert_eq!(step_by_step.take(&long), 2);
        let mut after_another = Said::default();
        after_another.take(&request(&["a", "x"]));
        assert_eq!(after_another.take(&long), 0, "it starts anew");
        let hashes = [&at_once, &step_by_step, &after_another].map(|said| said.hash("0", &long));
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(hashes[0], hashes[2]);
        assert_eq!(step_by_step.take(&long), 3, "the very same again");
        assert_eq!(step_by_step.hash("0", &long), hashes[0]);
    }

    #[test]
    fn whatever_differs_has_another_hash() {
        let plain = request(&["a"]);
        let tool = Tool { name: "t".into(), description: String::new(), parameters_schema: "{}".into() };
        let others = [
            request(&["a", "a"]),
            request(&["a\n"]),
            LlmRequest { model: Some("m".into()), ..plain.clone() },
            LlmRequest { output_schema: Some("{}".into()), ..plain.clone() },
            LlmRequest { temperature: Some(0.5), ..plain.clone() },
            LlmRequest { max_tokens: Some(7), ..plain.clone() },
            LlmRequest { tools: vec![tool], ..plain.clone() },
            LlmRequest { messages: vec![LlmMessage::System("a".into())], ..plain.clone() },
        ];
        let hash = |script: &str, request: &LlmRequest| {
            let mut said = Said::default();
            said.take(request);
            said.hash(script, request)
        };
        let mut all: Vec<_> = others.iter().map(|other| hash("0", other)).collect();
        all.extend([hash("0", &plain), hash("1", &plain)]);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
