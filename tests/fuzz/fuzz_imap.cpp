// tests/fuzz: the IMAP engine against any bytes of a server: no crash, bounded memory, no secret in a text, bodies exactly as announced,
// and events that do not depend on how the bytes are cut.
//
// Input: a byte of flags, then what the server says. Commands follow from events, so that a conversation can get far.
#include <algorithm>

#include "core/limits.hpp"
#include "protocol/imap/scanner.hpp"
#include "protocol/imap/utf7.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/protocol/imap/script.hpp"

namespace {

using namespace mailherd;
using fuzz::require;

enum flag : std::uint8_t {
  token = 1,
  clear_text = 2,
  use_starttls = 4,
  bearer = 8,
  compressed = 16,
  utf8 = 32,
  headers = 64,
  by_idle = 128
};

const std::string password = "p\xC3\xA4ss", access_token = "the-token";
/// A SEARCH answer longer than this is handed over in parts, whose borders depend on the cut.
constexpr std::size_t compared_bytes = 16 * limits::kib;

sasl::credentials who(std::uint8_t flags) {
  auto c = imap::password_of("joe", password);
  if ((flags & token) != 0) c = imap::token_of();
  return c;
}

class conversation {
 public:
  explicit conversation(std::uint8_t flags)
      : flags_(flags),
        engine_(imap::engine_options{.encrypted = (flags & clear_text) == 0,
                                     .allow_unencrypted = (flags & use_starttls) == 0,
                                     .prefer_oauthbearer = (flags & bearer) != 0,
                                     .scram_nonce = "rOprNGfwEbeRWgbNEkqO"}) {}

  void receive(std::string_view bytes) {
    engine_.receive(bytes, imap::test_now);
    while (auto e = engine_.next_event()) {
      check(*e);
      log_.add(*e);
      react(*e);
      require(engine_.take_output().size() <= limits::engine_output_bytes, "output is bounded");
    }
    require(engine_.heap_bytes() <= 2 * (limits::imap_line_bytes + limits::imap_small_literal_bytes) + 128 * limits::kib,
            "memory is bounded");
    const auto reason = engine_.ended(imap::test_now);
    require(fuzz::is_clean(reason.detail) && reason.detail.size() < 4096, "a reason can be shown");
  }

  [[nodiscard]] const imap::log& log() const { return log_; }

 private:
  void check(const imap::any_event& e) {
    if (const auto* begin = std::get_if<imap::event::body_begin>(&e)) {
      require(!in_body_, "one body at a time");
      in_body_ = true;
      left_ = begin->bytes;
      uid_ = begin->uid;
    } else if (const auto* chunk = std::get_if<imap::event::body_chunk>(&e)) {
      require(in_body_ && !chunk->bytes.empty() && chunk->bytes.size() <= left_, "no byte more than announced");
      left_ -= chunk->bytes.size();
    } else if (std::holds_alternative<imap::event::body_end>(e)) {
      require(in_body_ && left_ == 0, "no byte less than announced");
      in_body_ = false;
      had_body_ = true;
    } else if (const auto* fetched = std::get_if<imap::event::fetched>(&e)) {
      require(fetched->has_body == had_body_, "a response tells of its body");
      require(!had_body_ || uid_.value == 0 || uid_ == fetched->uid, "a body belongs to the UID it began with");
      had_body_ = false;
    } else if (const auto* found = std::get_if<imap::event::found>(&e)) {
      require(!found->uids->empty() && found->uids->ranges().front().first != 0, "what was found are UIDs");
    } else if (const auto* failed = std::get_if<imap::event::failed>(&e)) {
      check_text(failed->reason.detail);
    } else if (const auto* refused = std::get_if<imap::event::refused>(&e)) {
      check_text(refused->reason.detail);
      if (refused->kind == imap::command_kind::login) check_secret(refused->reason.detail);
    } else if (const auto* bye = std::get_if<imap::event::bye>(&e)) {
      check_text(bye->reason.detail);
    } else if (const auto* alert = std::get_if<imap::event::alert>(&e)) {
      check_text(alert->text);
    }
    if (!std::holds_alternative<imap::event::failed>(e)) require(!in_body_ || is_body_event(e), "nothing else inside a body");
  }
  static bool is_body_event(const imap::any_event& e) {
    return std::holds_alternative<imap::event::body_begin>(e) || std::holds_alternative<imap::event::body_chunk>(e);
  }
  static void check_text(const std::string& text) { require(fuzz::is_clean(text) && text.size() < 4096, "a text can be shown"); }
  void check_secret(const std::string& text) const {
    require(text.find((flags_ & token) != 0 ? access_token : password) == std::string::npos, "no secret in a reason");
  }

  void react(const imap::any_event& e) {
    using namespace imap;
    if (std::holds_alternative<event::greeted>(e) || std::holds_alternative<event::logged_in>(e)) engine_.capability();
    if (std::holds_alternative<event::start_tls>(e)) {
      engine_.tls_started();
      engine_.capability();
    }
    if (std::holds_alternative<event::capabilities>(e)) {
      if (engine_.authenticated()) return enter();
      if ((flags_ & use_starttls) != 0 && engine_.starttls()) return;
      engine_.login(who(flags_));
    }
    if (const auto* s = std::get_if<event::selected>(&e)) return fetch(*s);
    if (const auto* d = std::get_if<event::done>(&e)) return on_done(*d);
    if (std::holds_alternative<event::exists>(e)) engine_.done_idle();
  }

  void enter() {
    engine_.identify("Mailherd", "1");
    if ((flags_ & utf8) != 0) engine_.enable("UTF8=ACCEPT");
    engine_.list("\xC3\xB6*");
    engine_.status("INBOX");
    engine_.select("Entw\xC3\xBCrfe", false);
  }
  void fetch(const imap::event::selected& s) {
    engine_.search_since(imap::test_now);
    engine_.fetch(imap::uid_set::span({1}, s.uid_next), imap::fetch_what::sizes);
    for (std::uint32_t u = 1; u <= 3; ++u) {
      const bool only_headers = (flags_ & headers) != 0 && u == 2;
      engine_.fetch(imap::uids({u}), only_headers ? imap::fetch_what::headers : imap::fetch_what::body);
    }
    engine_.store(imap::uids({1, 2}), imap::flag::deleted);
    engine_.expunge(imap::uids({1, 2}));
    if ((flags_ & by_idle) != 0) engine_.idle();
    if ((flags_ & compressed) != 0) engine_.compress();
  }
  void on_done(const imap::event::done& d) {
    if (d.kind == imap::command_kind::compress) engine_.fetch(imap::uids({1}), imap::fetch_what::body);
    if (d.kind != imap::command_kind::noop && engine_.pending() == 0 && rounds_++ < 3) {
      if (engine_.noop()) engine_.idle();
    }
    if (rounds_ == 3) engine_.logout();
  }

  std::uint8_t flags_;
  imap::engine engine_;
  imap::log log_;
  bool in_body_ = false, had_body_ = false;
  std::uint64_t left_ = 0;
  uid uid_;
  unsigned rounds_ = 0;
};

/// The small languages.
void check_words(std::string_view text) {
  if (const auto plain = imap::from_utf7(text)) {
    const auto again = imap::to_utf7(*plain);
    require(again && imap::from_utf7(*again) == plain, "a decoded name can be named again");
  }
  if (const auto set = imap::uid_set::parse(text)) {
    const auto again = imap::uid_set::parse(set->to_string());
    require(again && again->ranges() == set->ranges(), "a set reads as it is written");
  }
  imap::parse_internal_date(text.substr(0, 26));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto flags = fuzz::take_byte(input);
  if (input.size() < 128) check_words(input);
  conversation whole(flags), cut(flags);
  whole.receive(input);
  // Pieces whose sizes follow from their place; each in memory of its own.
  for (std::size_t at = 0, n = 1; at < input.size(); n = n * 5 % 17 + (at % 3)) {
    const std::string piece(input.substr(at, n + 1));
    cut.receive(piece);
    at += piece.size();
  }
  // STARTTLS is the one answer where the border counts: bytes in the same piece are an injection.
  const bool comparable = (flags & use_starttls) == 0 && input.size() < compared_bytes;
  if (comparable) {
    require(whole.log().lines() == cut.log().lines(), "events do not depend on how the bytes are cut");
    require(whole.log().unfinished() == cut.log().unfinished(), "nor do the bytes of a body");
  }
  return 0;
}
