// applets/config/schema.h — the table of keys for machines and for readers.
#pragma once

#include <string>

namespace mirrord::config {

// A JSON schema (draft 07), for editors: schema/mirrord-schema.json.
[[nodiscard]] std::string json_schema();

// Markdown, one table for each part of the configuration: docs/configuration.md.
[[nodiscard]] std::string key_reference();

}  // namespace mirrord::config
