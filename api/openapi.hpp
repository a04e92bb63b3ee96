// api/openapi: docs/openapi.yaml, embedded when the program is built.
#pragma once

#include <string_view>

namespace mailherd::api {

std::string_view openapi_document() noexcept;

}  // namespace mailherd::api
