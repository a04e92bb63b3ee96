// protocol/pop3/capabilities: see the header.
#include "protocol/pop3/capabilities.hpp"

#include <algorithm>
#include <charconv>

#include "core/server_text.hpp"

namespace mailherd::pop3 {

namespace {

/// Mechanisms kept of one SASL line: servers name ten at most.
constexpr std::size_t sasl_names = 32;

std::string_view take_word(std::string_view& line) {
  const auto begin = std::min(line.find_first_not_of(" \t"), line.size());
  line.remove_prefix(begin);
  const auto end = std::min(line.find_first_of(" \t"), line.size());
  const auto word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

std::optional<std::uint32_t> number(std::string_view word) {
  std::uint32_t value = 0;
  const auto [end, ec] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (ec != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

}  // namespace

void capability_set::add(std::string_view line) {
  const auto name = take_word(line);
  if (equal_text(name, "STLS")) {
    stls = true;
  } else if (equal_text(name, "TOP")) {
    top = true;
  } else if (equal_text(name, "UIDL")) {
    uidl = true;
  } else if (equal_text(name, "USER")) {
    user = true;
  } else if (equal_text(name, "PIPELINING")) {
    pipelining = true;
  } else if (equal_text(name, "RESP-CODES") || equal_text(name, "AUTH-RESP-CODE")) {
    resp_codes = true;
  } else if (equal_text(name, "EXPIRE")) {
    const auto value = take_word(line);
    expire_never = equal_text(value, "NEVER");
    expire_days = number(value);
    expire_per_user = equal_text(take_word(line), "USER");
  } else if (equal_text(name, "LOGIN-DELAY")) {
    // A day is already absurd; more would only park the channel for ever.
    if (const auto value = number(take_word(line))) login_delay = seconds(std::min<std::uint32_t>(*value, 86'400));
    login_delay_per_user = equal_text(take_word(line), "USER");
  } else if (equal_text(name, "SASL")) {
    for (auto word = take_word(line); !word.empty() && sasl.size() < sasl_names; word = take_word(line)) {
      std::string upper(word);
      for (char& c : upper)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
      if (std::find(sasl.begin(), sasl.end(), upper) == sasl.end()) sasl.push_back(std::move(upper));
    }
  } else if (equal_text(name, "IMPLEMENTATION")) {
    implementation = clean_server_text(line);
  }
}

}  // namespace mailherd::pop3
