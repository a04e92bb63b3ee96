#include "protocol/mime/automatic.hpp"

#include <algorithm>
#include <map>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/mime/mime.hpp"

namespace mailherd::mime {

namespace {

std::string_view next_line(std::string_view& rest) {
  auto line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
  return s;
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// Fields of a block, unfolded; the first of each name counts. Names in lower case.
using fields = std::map<std::string, std::string, std::less<>>;

/// `wanted` empty: all of them.
fields read_fields(std::string_view& rest, std::initializer_list<std::string_view> wanted = {}) {
  fields out;
  std::string* last = nullptr;
  for (std::size_t n = 0; !rest.empty() && n < limits::classify_fields; ++n) {
    const auto line = next_line(rest);
    if (line.empty()) break;
    if (line.front() == ' ' || line.front() == '\t') {
      if (last != nullptr && last->size() < limits::header_field_bytes) last->append(" ").append(trim(line));
      continue;
    }
    const auto colon = line.find(':');
    last = nullptr;
    if (colon == std::string_view::npos) continue;
    const auto name = trim(line.substr(0, colon));
    if (wanted.size() > 0 && std::none_of(wanted.begin(), wanted.end(), [&](std::string_view w) { return equal_text(w, name); })) continue;
    const auto [at, fresh] = out.try_emplace(lower(name), trim(line.substr(colon + 1)));
    if (fresh) last = &at->second;
  }
  return out;
}

/// Of every message that arrives: what plays no part is not copied.
fields header_of(std::string_view raw) {
  auto header = raw.substr(0, std::min(header_end(raw), limits::header_parse_bytes));
  return read_fields(header, {"content-type", "from", "return-path", "x-failed-recipients", "auto-submitted", "x-autoreply", "x-autorespond", "x-auto-reply",
                              "precedence", "list-id", "list-unsubscribe"});
}

std::string_view value(const fields& f, std::string_view name) {
  const auto at = f.find(name);
  return at == f.end() ? std::string_view{} : std::string_view(at->second);
}

bool is_report(const fields& f) {
  const auto type = lower(value(f, "content-type"));
  return type.starts_with("multipart/report") && type.find("delivery-status") != std::string::npos;
}

}  // namespace

automatic classify(std::string_view raw) {
  const auto f = header_of(raw);
  const auto found = [](const char* kind, std::string_view name, std::string_view text) {
    return automatic{kind, clean_server_text(std::string(name) + ": " + std::string(text.substr(0, 200)))};
  };
  if (is_report(f)) return found("bounce", "Content-Type", value(f, "content-type"));
  const auto sender = lower(value(f, "from"));
  if (value(f, "return-path") == "<>" && (sender.find("mailer-daemon") != std::string::npos || sender.find("postmaster@") != std::string::npos))
    return found("bounce", "Return-Path", "<>");
  if (f.contains("x-failed-recipients")) return found("bounce", "X-Failed-Recipients", value(f, "x-failed-recipients"));
  // RFC 3834, 5: anything but "no", with comments and parameters behind it.
  const auto submitted = trim(value(f, "auto-submitted"));
  const auto word = lower(trim(submitted.substr(0, submitted.find_first_of(";( \t"))));
  if (word == "auto-replied") return found("auto_reply", "Auto-Submitted", submitted);
  for (const char* name : {"x-autoreply", "x-autorespond", "x-auto-reply"})
    if (f.contains(name)) return found("auto_reply", name, value(f, name));
  const auto precedence = lower(value(f, "precedence"));
  if (precedence == "auto_reply") return found("auto_reply", "Precedence", precedence);
  if (f.contains("list-id")) return found("list", "List-Id", value(f, "list-id"));
  if (precedence == "list") return found("list", "Precedence", precedence);
  if (precedence == "bulk" || precedence == "junk") return found("bulk", "Precedence", precedence);
  if (f.contains("list-unsubscribe")) return found("bulk", "List-Unsubscribe", value(f, "list-unsubscribe"));
  if (!word.empty() && word != "no") return found("auto_generated", "Auto-Submitted", submitted);
  if (value(f, "return-path") == "<>") return found("auto_generated", "Return-Path", "<>");
  return {};
}

std::vector<bounced> delivery_report(std::string_view status) {
  std::vector<bounced> out;
  // The first block is about the message, each further one about a recipient.
  for (bool first = true; !status.empty() && out.size() < limits::envelope_addresses; first = false) {
    const auto f = read_fields(status);
    if (first || f.empty()) continue;
    const auto after_type = [](std::string_view s) { return clean_server_text(trim(s.substr(s.find(';') == std::string_view::npos ? 0 : s.find(';') + 1))); };
    out.push_back({after_type(value(f, "final-recipient")), lower(clean_server_text(value(f, "action"))), clean_server_text(value(f, "status")),
                   after_type(value(f, "diagnostic-code"))});
  }
  return out;
}

namespace {

/// "On Tue, 24 Nov 2026, Ann wrote:", "Am 24.11.2026 schrieb Ann:", "Le 24 nov. 2026, Ann a écrit :" and the blocks that Outlook writes.
bool begins_quote(std::string_view line) {
  const auto s = lower(trim(line));
  if (s.empty() || s.size() > 300) return false;
  if (s.starts_with("-----original message-----") || s.starts_with("-----ursprüngliche nachricht-----") || s.starts_with("________________________________")) return true;
  if (s.back() != ':') return false;
  const auto ends = [&](std::string_view tail) { return s.size() > tail.size() && s.ends_with(tail); };
  return (s.starts_with("on ") && ends("wrote:")) || (s.starts_with("am ") && s.find(" schrieb") != std::string::npos) ||
         (s.starts_with("le ") && (ends("écrit :") || ends("écrit:"))) || (s.starts_with("el ") && (ends("escribió:"))) || (s.starts_with("il ") && ends("scritto:")) ||
         (s.starts_with("op ") && s.find("schreef") != std::string::npos);
}

}  // namespace

std::vector<text_piece> split_reply(std::string_view text) {
  using kind = text_piece::kind;
  std::vector<text_piece> out;
  const auto add = [&](kind k, std::string_view line) {
    if (out.empty() || out.back().is != k) out.push_back({k, {}});
    out.back().text.append(line);
  };
  bool to_the_end = false, signature = false;
  for (auto rest = text; !rest.empty();) {
    const auto whole = rest.substr(0, std::min(rest.size(), rest.find('\n') == std::string_view::npos ? rest.size() : rest.find('\n') + 1));
    auto line = whole;
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    rest.remove_prefix(whole.size());
    const bool quoted = !line.empty() && line.front() == '>';
    if (!quoted && !to_the_end && begins_quote(line)) {
      // A line of attribution, and after Outlook's rule everything: it does not mark what it quotes.
      to_the_end = lower(line).find("wrote:") == std::string::npos || trim(line).front() == '-';
      if (!rest.empty() && (rest.front() != '>' && rest.front() != '\n' && rest.front() != '\r')) to_the_end = true;
      add(kind::quote, whole);
      signature = false;
      continue;
    }
    if (!quoted && !to_the_end && (line == "-- " || line == "--")) signature = true;   // RFC 3676, 4.3
    add(quoted || to_the_end ? kind::quote : signature ? kind::signature : kind::reply, whole);
  }
  return out;
}

}  // namespace mailherd::mime
