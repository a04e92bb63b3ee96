// protocol/sasl/scram: SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677).
//
// Owns:   the client side, as one `mechanism`. Private to the room: callers go through sasl::choose.
// Why not libgsasl 2.2: it would bring its own base64, its own callbacks for secrets it copies to unwiped memory, and no bound on the
//         iteration count; what is needed is one HMAC chain on the OpenSSL that is linked anyway.
#pragma once

#include <memory>
#include <string>

#include "protocol/sasl/sasl.hpp"

namespace mailherd::sasl {

/// REQUIRED: a safe user name. `nonce` is printable ASCII without commas; empty = made here from 18 random bytes.
result<std::unique_ptr<mechanism>> make_scram_sha256(const credentials& who, std::string nonce);

}  // namespace mailherd::sasl
