// node/version: the only file that knows MAILHERD_VERSION.
#include "node/version.hpp"

namespace mailherd::node {

std::string_view version() noexcept { return MAILHERD_VERSION; }

}  // namespace mailherd::node
