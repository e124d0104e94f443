//! CairnFS chunkserver.
