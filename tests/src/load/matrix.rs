//! A set of points, each measured in a process of its own.

use std::path::Path;

use serde_json::{Value, json};

use super::{Flow, Plan, child, columns, page};
use crate::stage::StageError;

/// What is varied; every combination is a point.
#[derive(Debug, Clone)]
pub struct Axes {
    /// Bytes of each body.
    pub bodies: Vec<usize>,
    /// Senders.
    pub pairs: Vec<u8>,
    /// Recipients of each packet.
    pub recipients: Vec<u8>,
}

impl Default for Axes {
    fn default() -> Self {
        Self { bodies: vec![256, 1024, 16_384, 262_144], pairs: vec![1, 4, 16], recipients: vec![1, 4, 16] }
    }
}

impl Axes {
    /// The plan of each point: over the same flow whatever the body, without what has to do with one length of body
    /// alone. Those with one body come together.
    pub fn plans(&self, usual: &Plan) -> Vec<Plan> {
        let mut plans = Vec::new();
        for body in &self.bodies {
            for pairs in &self.pairs {
                for recipients in &self.recipients {
                    plans.push(Plan {
                        pairs: *pairs,
                        recipients: *recipients,
                        body: *body,
                        flow: Some(usual.flow.unwrap_or(Flow::Own)),
                        waiting: 0,
                        quorum: false,
                        ..usual.clone()
                    });
                }
            }
        }
        plans
    }
}

/// Points and the conditions they were measured under.
#[derive(Debug, Clone)]
pub struct Matrix {
    conditions: Value,
    points: Vec<Value>,
}

impl Matrix {
    /// Measures all plans, after the points of earlier matrices. A point that cannot be measured says why, and the
    /// others are measured all the same. `tell` is told each step.
    ///
    /// # Errors
    /// When this program does not know where it stands.
    pub fn measure(
        plans: &[Plan],
        earlier: &[Value],
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, StageError> {
        let load = std::env::current_exe()?;
        let points = earlier.iter().filter_map(|matrix| matrix.get("points")?.as_array()).flatten();
        let mut points: Vec<Value> = points.cloned().collect();
        for (at, plan) in plans.iter().enumerate() {
            let (all, to) = (plans.len(), plan.recipients);
            tell(&format!(
                "{} of {all}: bodies of {} bytes, {} senders, {to} recipients of each packet",
                at + 1,
                plan.body,
                plan.pairs
            ));
            points.push(match child::measure(&load, plan) {
                Ok(figures) => figures,
                Err(error) => json!({ "plan": plan.to_json(), "failed": error.to_string() }),
            });
        }
        Ok(Self { conditions: conditions(), points })
    }

    /// Why points could not be measured.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.points.iter().filter_map(|point| point.get("failed")?.as_str())
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        json!({ "conditions": self.conditions, "points": self.points })
    }

    /// For people, as Markdown.
    pub fn to_table(&self) -> String {
        columns::markdown(&self.points)
    }

    /// For people, as one page that needs nothing else.
    pub fn to_html(&self) -> String {
        page::page(&self.conditions, &self.points)
    }
}

/// The machine and the build, as far as they say.
fn conditions() -> Value {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = text("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let file_system = file_system(&text("/proc/self/mounts"), &std::env::temp_dir());
    json!({
        "processors": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "processor": model.map(|(_, name)| name.trim()),
        "kernel": text("/proc/sys/kernel/osrelease").trim(),
        "file_system": file_system,
        "build": if cfg!(debug_assertions) { "not optimised" } else { "optimised" },
        "flush": "always",
    })
}

/// The kind of file system that a folder is on, by the mounts of proc(5): the one with the longest path above it.
fn file_system(mounts: &str, folder: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounts.filter(|(path, _)| folder.starts_with(path));
    above.max_by_key(|(path, _)| path.len()).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_a_point_and_can_be_measured() {
        let usual = Plan { seconds: 3, ..Plan::default() };
        let plans = Axes::default().plans(&usual);
        assert_eq!(plans.len(), 36);
        for plan in &plans {
            plan.check().unwrap();
            assert_eq!((plan.seconds, plan.waiting(), plan.flow()), (3, 0, Flow::Own));
        }
        assert_eq!((plans[0].body, plans[0].pairs, plans[0].recipients), (256, 1, 1));
        assert_eq!((plans[35].body, plans[35].pairs, plans[35].recipients), (262_144, 16, 16));
    }

    #[test]
    fn points_of_earlier_matrices_come_first() {
        let earlier =
            [json!({ "points": [{ "plan": { "pairs": 1 } }] }), json!({ "points": [{ "failed": "no" }] })];
        let matrix = Matrix::measure(&[], &earlier, &mut |_| ()).unwrap();
        assert_eq!(matrix.to_json()["points"].as_array().unwrap().len(), 2);
        assert_eq!(matrix.failed().collect::<Vec<_>>(), ["no"]);
    }

    #[test]
    fn a_folder_is_on_the_file_system_nearest_above_it() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /mnt tmpfs rw 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/mnt/x")).as_deref(), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/mntx")).as_deref(), Some("ext4"));
    }
}
