// applets/json_error.h — an error as the line of JSON that editor plugins read from standard error.
#pragma once

#include <string>
#include <vector>

#include "net/error.h"

namespace mirrord {

// {"message": "…","severity": "error","causes": [],"help": "…","labels": [],"related": []}; `help`
// only where the error has a hint.
std::string json_error(const Error& error);

// All errors of a configuration as one.
Error config_error(const std::vector<Error>& errors);

// For the commands that editors run: that line after "Error: "; when MIRRORD_CONSOLE_ADDR is set, the
// form for people. Returns the exit code.
int report_error_to_editor(const Error& error);

}  // namespace mirrord
