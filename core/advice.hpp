// core/advice: what to do about each failure, for the machine (`action`) and for the person (words).
//
// Owns:   the decision table failure → advice, as one exhaustive switch.
// Never:  asks for consent unless the token endpoint demanded it (`consent_required` is its only source).
#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

namespace mailherd {

enum class action {
  retry_now,      ///< once, at once: the cause is over or costs nothing to try
  retry_later,    ///< with back-off, or at `error::retry_at`
  refresh_token,  ///< refresh the access token once, then retry once
  reconsent,      ///< a person must press Connect
  admin_action,   ///< the customer's directory or mail administrator must act
  app_blocked,    ///< our operator must mend the app registration
  fix_config,     ///< the channel's settings are wrong
  skip_message,   ///< set this message aside and go on
  stop,           ///< withdrawn or fenced: end quietly, somebody else serves
};

std::string_view to_string(action a) noexcept;

action action_for(failure f) noexcept;

/// Words for a person who is not an engineer: what is wrong, and what to do next. Static text.
struct explanation {
  std::string_view cause;
  std::string_view next_step;
};

explanation explain(failure f) noexcept;

}  // namespace mailherd
