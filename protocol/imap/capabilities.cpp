// protocol/imap/capabilities: see the header.
#include "protocol/imap/capabilities.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/server_text.hpp"

namespace mailherd::imap {

namespace {
struct word {
  std::string_view name;
  capability bit;
};

constexpr std::array<word, 18> words{{
    {"IMAP4REV1", capability::imap4rev1},
    {"IMAP4REV2", capability::imap4rev2},
    {"STARTTLS", capability::starttls},
    {"LOGINDISABLED", capability::login_disabled},
    {"SASL-IR", capability::sasl_ir},
    {"IDLE", capability::idle},
    {"UIDPLUS", capability::uidplus},
    {"CONDSTORE", capability::condstore},
    {"QRESYNC", capability::condstore},  // RFC 7162, 3.2.3: whoever has QRESYNC has CONDSTORE
    {"ENABLE", capability::enable},
    {"ID", capability::id},
    {"LITERAL+", capability::literal_plus},
    {"LITERAL-", capability::literal_minus},
    {"ESEARCH", capability::esearch},
    {"UTF8=ACCEPT", capability::utf8_accept},
    {"UNSELECT", capability::unselect},
    {"MOVE", capability::move},
    {"COMPRESS=DEFLATE", capability::compress_deflate},
}};

// A list of mechanisms longer than this is an attack on memory, not a choice.
constexpr std::size_t mechanisms_kept = 32;
}  // namespace

void capability_set::assign(std::string_view list) {
  clear();
  known_ = true;
  while (!list.empty()) {
    const auto end = std::min(list.find(' '), list.size());
    const auto name = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    if (name.size() > 5 && name.size() < 64 && equal_text(name.substr(0, 5), "AUTH=")) {
      if (mechanisms_.size() >= mechanisms_kept) continue;
      std::string upper(name.substr(5));
      std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
      mechanisms_.push_back(std::move(upper));
      continue;
    }
    for (const auto& w : words)
      if (equal_text(name, w.name)) bits_ |= static_cast<std::uint32_t>(w.bit);
  }
  // What rev2 contains needs no announcement of its own (RFC 9051, appendix E).
  if (has(capability::imap4rev2)) {
    for (const auto c : {capability::sasl_ir, capability::idle, capability::uidplus, capability::enable, capability::literal_minus,
                         capability::esearch, capability::unselect, capability::move})
      bits_ |= static_cast<std::uint32_t>(c);
  }
}

}  // namespace mailherd::imap
