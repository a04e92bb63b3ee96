// protocol/imap/search_reply: what SEARCH and ESEARCH found (RFC 3501, 7.2.5; RFC 4731). A long answer is handed over while it arrives: it
// may name every message of a mailbox. A number that cannot be read ends the session: a message left out here would be left out for good.
#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/imap/engine.hpp"
#include "protocol/imap/scanner.hpp"

namespace mailherd::imap {

namespace {
constexpr std::string_view search_prefix = "* SEARCH ", esearch_prefix = "* ESEARCH ";

bool begins_with(std::string_view line, std::string_view prefix) {
  return line.size() >= prefix.size() && equal_text(line.substr(0, prefix.size()), prefix);
}

struct esearch_set {
  std::size_t at = 0;   ///< where the set behind ALL begins
  bool by_uid = false;  ///< otherwise its numbers are sequence numbers
};

/// In `(TAG "A3") UID COUNT 3 ALL 1:5,9`; nullopt: there is no ALL (yet).
std::optional<esearch_set> find_esearch_set(std::string_view rest) {
  scanner in(rest);
  esearch_set out;
  in.skip_spaces();
  if (in.peek() == '(' && !in.skip_value()) return std::nullopt;
  while (true) {
    in.skip_spaces();
    const auto item = in.atom();
    if (item.empty()) return std::nullopt;
    in.skip_spaces();
    if (equal_text(item, "UID")) {
      out.by_uid = true;
    } else if (equal_text(item, "ALL")) {
      out.at = rest.size() - in.rest().size();
      return out;
    } else if (!in.skip_value()) {
      return std::nullopt;
    }
  }
}
}  // namespace

/// Hands over the numbers of a long answer that are complete. False: the line is none, or holds nothing complete.
bool engine::drain_search() {
  const std::string_view line = line_;
  if (begins_with(line, search_prefix)) {
    const auto last = line.rfind(' ');
    if (last < search_prefix.size() || line.find('(') != std::string_view::npos) return false;
    on_search(line.substr(search_prefix.size(), last - search_prefix.size()));
    line_.erase(search_prefix.size(), last + 1 - search_prefix.size());
  } else if (begins_with(line, esearch_prefix)) {
    const auto set = find_esearch_set(line.substr(esearch_prefix.size()));
    if (!set) return false;
    const auto begin = esearch_prefix.size() + set->at;
    const auto last = line.rfind(',');
    if (last == std::string_view::npos || last <= begin) return false;
    on_esearch_set(line.substr(begin, last - begin), set->by_uid);
    line_.erase(begin, last + 1 - begin);
  } else {
    return false;
  }
  text_bytes_ = line_.size();
  return true;
}

void engine::on_search(std::string_view numbers) {
  scanner in(numbers);
  std::vector<uid_set::range> ranges;
  std::size_t told = 0;
  while (true) {
    in.skip_spaces();
    if (in.at_end() || in.peek() == '(') break;  // "(MODSEQ 917162500)" comes last (RFC 7162, 3.1.5)
    const auto n = in.number();
    if (!n || *n == 0 || *n > 0xFFFFFFFFu) return fail_session(failure::protocol_violation, "a SEARCH answer that cannot be read");
    const auto uid = static_cast<std::uint32_t>(*n);
    ++told;
    if (!ranges.empty() && ranges.back().last == uid - 1) {
      ranges.back().last = uid;
    } else {
      ranges.push_back({uid, uid});
    }
  }
  on_found(uid_set::of(std::move(ranges)), told);
}

void engine::on_esearch(std::string_view rest) {
  const auto set = find_esearch_set(rest);
  if (!set) return;  // nothing found
  scanner in(rest.substr(set->at));
  on_esearch_set(in.atom(), set->by_uid);
}

void engine::on_esearch_set(std::string_view text, bool by_uid) {
  auto set = by_uid ? uid_set::parse(text) : std::nullopt;
  if (!set) return fail_session(failure::protocol_violation, "an ESEARCH answer that cannot be read");
  on_found(std::move(*set), 1 + static_cast<std::size_t>(std::count(text.begin(), text.end(), ',')));
}

void engine::on_found(uid_set found, std::size_t told) {
  const auto* c = in_flight(command_kind::search);
  if (!c || found.empty()) return;
  found_ = std::move(found);
  found_told_ += told;
  if (found_told_ > limits::listing_entries)
    return fail_session(failure::limit_exceeded, fmt::format("a SEARCH answer of more than {} UIDs", limits::listing_entries));
  push(event::found{c->id, &found_});
}

}  // namespace mailherd::imap
