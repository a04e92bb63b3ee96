// node/version: what this program calls itself.
//
// Owns:   the version of the project's CMake file, compiled in one place so that raising it rebuilds one file.
// Used by: `mailherd version`, logs, metrics, the API, the cluster's list of nodes.
#pragma once

#include <string_view>

namespace mailherd::node {

std::string_view version() noexcept;   ///< "0.1.0"

}  // namespace mailherd::node
