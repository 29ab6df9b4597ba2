//! The agent's parts from outside, over real sockets and files; one binary, because linking is
//! what costs. It does not start the process: the system tests do.

mod agent {
    mod exporters;
    mod receivers;
}
