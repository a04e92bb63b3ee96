// transport/tls_certificate: what a person must know about a certificate: whose, for which names, until when, why it was refused.
//
// Owns:   the words and the mapping of OpenSSL's verification results to failures.
// Never:  decides trust: OpenSSL verifies, this explains.
// Used by: tls, HTTP client.
#pragma once

#include <openssl/x509.h>

#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace mailherd::net {

/// The owner's common name, else organisation, else the whole name in one line; fit for people.
std::string certificate_owner(const X509_NAME* name);

/// Host names and addresses the certificate is valid for: "mail.acme.test, *.acme.test and 3 more"; "no name at all".
std::string certificate_names(X509* certificate);

std::optional<wall_time> certificate_expiry(const X509* certificate);

/// Why verification (in progress, with an error set) refuses the chain presented for `host`.
error certificate_problem(X509_STORE_CTX* verification, std::string_view host);

/// For a leaf that is sound but for other names.
error certificate_name_problem(std::string_view host, std::string_view names);

}  // namespace mailherd::net
