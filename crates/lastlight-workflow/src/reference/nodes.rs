//! The fields of nodes, by type.

use super::{
    Allowed, Field, Mapping, NodeType,
    fields::{
        A_NAME, A_PATH, HANDLER, QUEUE, RETRY_FIELD, TIMEOUT_FIELD, defaulted, optional, required,
    },
    words::{self, AGGREGATIONS, GATE_TYPES, ON_TIMEOUT},
};
use crate::limits::{ITEMS, PER_MESSAGE, TIMEOUT, TOLERATED};

impl NodeType {
    /// The fields that a node of this type may have.
    pub(crate) fn mapping(self) -> &'static Mapping {
        match self {
            Self::Task => &TASK,
            Self::Conditional => &CONDITIONAL,
            Self::FanOut => &FAN_OUT,
            Self::FanIn => &FAN_IN,
            Self::Gate => &GATE,
            Self::Job => &JOB,
        }
    }
}

/// The field `type` of a node.
const fn of_type(name: &'static str) -> Field {
    required("type", Allowed::Text(name), "The type of the node.")
}

const DEPENDS_ON: Field = optional(
    "depends_on",
    Allowed::Text("a list of names of nodes, each with `?` after it or without"),
    "The nodes that must have ended before. One that failed or was skipped skips this node too, unless its name ends in \
     `?` or it is `best_effort`.",
);

const WHEN: Field =
    optional("when", A_PATH, "The node is skipped if this is null, false, 0 or empty.");

const BEST_EFFORT: Field = defaulted(
    "best_effort",
    Allowed::Flag,
    "false",
    "Its failure fails neither the nodes that depend on it nor the job.",
);

const CONSTANTS: Field = optional(
    "constants",
    Allowed::Text("a mapping of names to values"),
    "Fixed parameters of the handler, over `params`.",
);

const RECEIVES: Field = optional(
    "receives",
    Allowed::Text("a mapping of names to paths"),
    "Parameters of the handler from the outputs of other nodes, over `params` and `constants`.",
);

const PARAMS: Allowed =
    Allowed::Text("a list of names of parameters, or a mapping of names to templates or literals");

pub(crate) static TASK: Mapping = Mapping {
    noun: "a task",
    about: "One call of a handler. Its output is what the handler answered.",
    fields: &[
        of_type("`task`"),
        HANDLER,
        optional(
            "params",
            PARAMS,
            "Parameters of the handler: those of the job with these names, or each from a template.",
        ),
        CONSTANTS,
        RECEIVES,
        WHEN,
        DEPENDS_ON,
        BEST_EFFORT,
        QUEUE,
        RETRY_FIELD,
        TIMEOUT_FIELD,
    ],
};

pub(crate) static CONDITIONAL: Mapping = Mapping {
    noun: "a conditional",
    about: "Chooses one of its branches. What no chosen branch names is skipped. It has no task; its output is \
            `{\"success\": true, \"result\": {\"branch\": name}}`.",
    fields: &[
        of_type("`conditional`"),
        required("condition", A_PATH, "The value that the conditions of the branches look at."),
        required(
            "branches",
            Allowed::Text(
                "a list of two or more branches, exactly one of them with `default: true`",
            ),
            "The first branch whose condition the value meets is chosen, else the default.",
        ),
        WHEN,
        DEPENDS_ON,
        BEST_EFFORT,
    ],
};

pub(crate) static BRANCH: Mapping = Mapping {
    noun: "a branch",
    about: "A branch of a conditional.",
    fields: &[
        required(
            "name",
            Allowed::Text("text of 1 to 100 characters"),
            "Its name, unique in its conditional.",
        ),
        optional(
            "condition",
            Allowed::Text("an operator and a literal, such as `gt 2000`"),
            "When it is chosen. All branches but the default must have one.",
        ),
        defaulted("default", Allowed::Flag, "false", "Whether it is chosen if no other branch is."),
        required(
            "next",
            Allowed::Text("a list of names of nodes, which may be empty"),
            "The nodes that run if it is chosen. Each of them depends on the conditional.",
        ),
    ],
};

pub(crate) static FAN_OUT: Mapping = Mapping {
    noun: "a fan_out",
    about: "A call of a handler for each item of a list, as tasks that run at the same time. Without items it completes at \
            once. It has no output of its own: a fan-in, or another fan-out, reads those of its tasks.",
    fields: &[
        of_type("`fan_out`"),
        optional(
            "source",
            Allowed::Text("a path of a list, or the name of another fan-out"),
            "The items. Either this field or `source_file` must be there.",
        ),
        optional(
            "source_file",
            Allowed::Text("a path of the address of a blob"),
            "A blob of JSON lines, each an item: `container/name`, or its URL. It is read part by part.",
        ),
        defaulted(
            "max_fan_out",
            Allowed::Whole(ITEMS),
            "500",
            "The largest number of items; the node fails if there are more.",
        ),
        required("task", Allowed::Text("a mapping"), "What is called for each item."),
        defaulted(
            "tasks_per_message",
            Allowed::Whole(PER_MESSAGE),
            "1",
            "Number of tasks per message: more for short tasks.",
        ),
        optional(
            "tolerate",
            Allowed::Text("a mapping with either `share` or `count`"),
            "How many failed tasks do not fail the node. Without it, none.",
        ),
        WHEN,
        DEPENDS_ON,
        BEST_EFFORT,
        QUEUE,
    ],
};

pub(crate) static ITEM_TASK: Mapping = Mapping {
    noun: "the task of a fan_out",
    about: "The field `task` of a fan-out.",
    fields: &[
        HANDLER,
        optional(
            "params",
            Allowed::Text("a mapping of names to templates or literals"),
            "Parameters of the handler. Templates may use `item` and `index`.",
        ),
        RETRY_FIELD,
        TIMEOUT_FIELD,
    ],
};

pub(crate) static TOLERATE: Mapping = Mapping {
    noun: "tolerate",
    about: "The field `tolerate` of a fan-out: one of these two fields.",
    fields: &[
        optional(
            "share",
            Allowed::Text("a number from 0 to 1"),
            "The node tolerates failures of up to this share of its tasks.",
        ),
        optional(
            "count",
            Allowed::Whole(TOLERATED),
            "The node tolerates up to this number of failed tasks.",
        ),
    ],
};

pub(crate) static FAN_IN: Mapping = Mapping {
    noun: "a fan_in",
    about: "Makes one output of those of a fan-out's tasks, in the order of its items. It must depend on exactly one fan-out. \
            It has no task.",
    fields: &[
        of_type("`fan_in`"),
        defaulted(
            "aggregation",
            Allowed::OneOf(|| words::of(&AGGREGATIONS)),
            "collect",
            "What becomes of the outputs.",
        ),
        WHEN,
        DEPENDS_ON,
        BEST_EFFORT,
    ],
};

pub(crate) static GATE: Mapping = Mapping {
    noun: "a gate",
    about: "Waits until a user approves or rejects it. It has no task, and costs nothing while it waits.",
    fields: &[
        of_type("`gate`"),
        defaulted(
            "gate_type",
            Allowed::OneOf(|| words::of(&GATE_TYPES)),
            "approval",
            "Which decision it waits for.",
        ),
        optional(
            "timeout_seconds",
            Allowed::Whole(TIMEOUT),
            "How long it waits. Without it, as long as its job may take.",
        ),
        defaulted(
            "on_timeout",
            Allowed::OneOf(|| words::of(&ON_TIMEOUT)),
            "fail",
            "What happens then: it counts as approved or as rejected, or the node fails. Only with `timeout_seconds`.",
        ),
        DEPENDS_ON,
        BEST_EFFORT,
    ],
};

pub(crate) static JOB: Mapping = Mapping {
    noun: "a job",
    about: "Submits another job, of any job type of the app, and waits for its end. It has no task.",
    fields: &[
        of_type("`job`"),
        required("job_type", A_NAME, "The job type."),
        optional(
            "parameters",
            PARAMS,
            "Its parameters: those of this job with these names, or each from a template.",
        ),
        WHEN,
        DEPENDS_ON,
        BEST_EFFORT,
    ],
};

pub(crate) static FINALIZE: Mapping = Mapping {
    noun: "finalize",
    about: "The field `finalize` of the file: one task once the job is over, whatever became of it: also after a cancellation or its time limit. Its failure changes nothing.",
    fields: &[
        HANDLER,
        optional(
            "params",
            PARAMS,
            "Parameters of the handler. Without it, all parameters of the job.",
        ),
        CONSTANTS,
        RECEIVES,
        QUEUE,
        RETRY_FIELD,
        TIMEOUT_FIELD,
    ],
};
