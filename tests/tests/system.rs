//! The whole system from outside: one binary, because every test binary is linked anew.
//! Each module is one way in which the world treats a running system.

mod system {
    mod answers;
    mod aws;
    mod backlog;
    mod bad_input;
    mod bench;
    mod clock;
    mod crash;
    mod damage;
    mod full_disk;
    mod hostile_otlp;
    mod hostile_sql;
    mod ledger;
    mod lossless;
    mod maintenance;
    mod memory;
    mod outage;
    mod partition;
    mod peers;
    mod s3;
    mod s3_credentials;
    mod silence;
    mod slow_and_lying;
    mod stores;
}
