// api/console_files: the console's pages and programs, as part of this program.
//
// Owns:   which path gives which file, how browsers may keep it, what its pages may do (Content-Security-Policy).
// Never:  reads the disk; knows a user: the files are the same for everybody.
// Used by: the service, before it looks for a route.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "api/http.hpp"

namespace mailherd::api {

struct console_file {
  std::string_view path;  ///< "/" or "/assets/app-<hash>.js"
  std::string_view type;
  std::string_view bytes, gzip;
};

/// Generated from console/ by its build (console/build.mjs).
const std::vector<console_file>& console_files();

/// The answer, if `path` is one of the console's. GET and HEAD only.
std::optional<response> answer_console_file(const request& r, std::string_view path);

}  // namespace mailherd::api
