//! What crosses the wire in CairnFS: identities, errors, types, the tarpc services, and the transport under them.
//!
//! This crate depends on no other member of the workspace, and holds no behaviour beyond what its own types are. Who talks to whom:
//!
//! | service | from | to |
//! |---|---|---|
//! | [`meta::MetaService`] | client | metaserver |
//! | [`cluster::ClusterService`] | chunkserver | metaserver |
//! | [`chunkserver::ChunkService`] | client, metaserver, chunkserver | chunkserver |
//! | [`admin::AdminService`] | `cairn` commands | metaserver |

pub mod admin;
pub mod attr;
pub mod chunk;
pub mod chunkserver;
pub mod cluster;
pub mod disk;
pub mod error;
pub mod ids;
pub mod labels;
pub mod lock;
pub mod meta;
pub mod name;
pub mod policy;
pub mod scrub;
pub mod simulation;
pub mod time;
pub mod transport;
pub mod trash;
