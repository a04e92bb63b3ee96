// protocol/imap/uid_set: see the header.
#include "protocol/imap/uid_set.hpp"

#include <algorithm>
#include <charconv>

namespace mailherd::imap {

uid_set uid_set::span(mailherd::uid first, mailherd::uid last) {
  uid_set s;
  s.ranges_.push_back({first.value, last.value});
  return s;
}

std::optional<uid_set> uid_set::parse(std::string_view text, std::size_t most) {
  uid_set s;
  const char* p = text.data();
  const char* const end = p + text.size();
  const auto number = [&](std::uint32_t& out) {
    const auto [next, ec] = std::from_chars(p, end, out);
    if (ec != std::errc{} || out == 0) return false;
    p = next;
    return true;
  };
  if (p == end) return std::nullopt;
  while (true) {
    range r;
    if (!number(r.first)) return std::nullopt;
    r.last = r.first;
    if (p != end && *p == ':') {
      ++p;
      if (!number(r.last)) return std::nullopt;
      if (r.last < r.first) std::swap(r.first, r.last);
    }
    if (s.ranges_.size() >= most) return std::nullopt;
    s.ranges_.push_back(r);
    if (p == end) break;
    if (*p != ',') return std::nullopt;
    ++p;
  }
  std::sort(s.ranges_.begin(), s.ranges_.end(), [](const range& a, const range& b) { return a.first < b.first; });
  std::vector<range> merged;
  for (const auto& r : s.ranges_) {
    if (!merged.empty() && (r.first <= merged.back().last || r.first == merged.back().last + 1)) {
      merged.back().last = std::max(merged.back().last, r.last);
    } else {
      merged.push_back(r);
    }
  }
  s.ranges_ = std::move(merged);
  return s;
}

void uid_set::add(mailherd::uid u) {
  if (!ranges_.empty() && u.value == ranges_.back().last + 1) {
    ranges_.back().last = u.value;
    return;
  }
  if (ranges_.empty() || u.value > ranges_.back().last) {
    ranges_.push_back({u.value, u.value});
    return;
  }
  if (contains(u)) return;
  const auto after = std::find_if(ranges_.begin(), ranges_.end(), [&](const range& r) { return r.first > u.value; });
  const auto at = static_cast<std::size_t>(after - ranges_.begin());
  const bool joins_left = at > 0 && ranges_[at - 1].last + 1 == u.value;
  const bool joins_right = after != ranges_.end() && after->first == u.value + 1;
  if (joins_left && joins_right) {
    ranges_[at - 1].last = ranges_[at].last;
    ranges_.erase(after);
  } else if (joins_left) {
    ranges_[at - 1].last = u.value;
  } else if (joins_right) {
    ranges_[at].first = u.value;
  } else {
    ranges_.insert(after, {u.value, u.value});
  }
}

bool uid_set::contains(mailherd::uid u) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const range& r) { return u.value >= r.first && (r.last == 0 || u.value <= r.last); });
}

std::uint64_t uid_set::size() const {
  std::uint64_t n = 0;
  for (const auto& r : ranges_) n += std::uint64_t{r.last} - r.first + 1;
  return n;
}

std::string uid_set::to_string() const {
  std::string out;
  for (const auto& r : ranges_) {
    if (!out.empty()) out += ',';
    out += std::to_string(r.first);
    if (r.last == 0) {
      out += ":*";
    } else if (r.last != r.first) {
      out += ':' + std::to_string(r.last);
    }
  }
  return out;
}

}  // namespace mailherd::imap
