//! The pages, the examples and the list of modules agree with the program.

mod api_reference;
mod cli_reference;
mod links;
mod module_map;
mod readme;
mod tutorial;
mod workflow_files;
mod workflow_reference;
mod workflow_tutorial;
