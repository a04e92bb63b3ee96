// protocol/oauth2/classify: what an error of a token endpoint means, as a table and a pure function over it.
//
// Owns:   error field → failure, and Microsoft's AADSTS numbers → failure and a hint for people. The only source of consent_required,
//         admin_required and app_misconfigured that come from a provider (design, invariant 5).
// Never:  decides by words of a description: vendors translate and reword them. Only the number in it counts.
// Used by: reply reading; tests go through the tables row by row.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/model.hpp"

namespace mailherd::oauth2 {

/// The `error` field (RFC 6749, 5.2; RFC 8628, 3.5; vendors' own).
struct error_row {
  std::string_view name;
  failure meaning;
  std::optional<provider_kind> provider = {};  ///< only this provider's; nullopt: anybody's
};

/// A number in Microsoft's `error_codes` or error_description ("AADSTS50173: ..."). It refines what the error field says.
struct aadsts_row {
  std::uint32_t number;
  failure meaning;
  std::string_view hint;  ///< what a person should know; may be empty
};

std::span<const error_row> error_rows() noexcept;
std::span<const aadsts_row> aadsts_rows() noexcept;

/// An error reply, taken apart.
struct error_reply {
  provider_kind provider = provider_kind::custom;
  int http_status = 400;
  std::string error;
  std::string description;
  std::vector<std::uint32_t> numbers;  ///< AADSTS, as the reply lists them
};

/// Order: HTTP 429 and 5xx are transient whatever the body says (a proxy's or an overloaded front end's body is not the directory's word);
/// then a number of the table; then the error field; anything else is token_unavailable. `detail` is cleaned and holds no token.
/// `retry_at` is left to the caller.
error classify(const error_reply& reply);

/// The numbers of "AADSTS50173" in a text, in order, at most 8.
std::vector<std::uint32_t> aadsts_numbers(std::string_view text);

/// Words of 48 and more bytes become "***": tokens are that long, what people can use is not.
std::string without_tokens(std::string_view text);

}  // namespace mailherd::oauth2
