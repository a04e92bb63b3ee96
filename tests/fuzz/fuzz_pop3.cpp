// tests/fuzz: the POP3 engine against any bytes of a server: no crash, bounded memory, and events that do not depend on how the bytes are
// cut.
//
// Input: a byte of flags, then what the server says. Commands follow from events, so that a conversation can get far.
#include "core/limits.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/protocol/pop3/script.hpp"

namespace {

using namespace mailherd;
using fuzz::require;

enum flag : std::uint8_t { token = 1, clear_text = 2, use_stls = 4, no_pipelining = 8, two_lines = 16, bearer = 32 };

sasl::credentials who(std::uint8_t flags) {
  sasl::credentials c;
  c.username = "joe";
  c.password = secret<>(std::string("p\xC3\xA4ss"));
  if ((flags & token) != 0) {
    c.type = auth_type::oauth2;
    c.access_token = secret<>(std::string("the-token"));
  }
  return c;
}

class conversation {
 public:
  explicit conversation(std::uint8_t flags)
      : flags_(flags),
        engine_(pop3::engine_options{.encrypted = (flags & clear_text) == 0,
                                     .allow_unencrypted = (flags & use_stls) == 0,
                                     .pipelining = (flags & no_pipelining) == 0,
                                     .form = (flags & two_lines) != 0 ? pop3::auth_form::two_lines : pop3::auth_form::automatic,
                                     .prefer_oauthbearer = (flags & bearer) != 0,
                                     .scram_nonce = "rOprNGfwEbeRWgbNEkqO"}) {}

  void receive(std::string_view bytes) {
    engine_.receive(bytes, pop3::test_now);
    while (const auto e = engine_.next_event()) {
      check(*e, bytes);
      log_.add(*e);
      react(*e);
      require(engine_.take_output().size() <= limits::engine_output_bytes, "output is bounded");
    }
    require(engine_.heap_bytes() <= 4 * limits::pop3_line_bytes + 16 * 1024, "memory is bounded");
  }

  [[nodiscard]] const std::vector<std::string>& lines() const { return log_.lines(); }

 private:
  void check(const pop3::any_event& e, std::string_view bytes) const {
    if (const auto* chunk = std::get_if<pop3::event::body_chunk>(&e))
      require(!chunk->bytes.empty() && chunk->bytes.size() <= bytes.size() + 1, "a slice is of the input");
    if (const auto* entry = std::get_if<pop3::event::uidl_entry>(&e))
      require(entry->uidl.size() <= 512 && fuzz::is_clean(entry->uidl), "a unique id can be stored");
    if (const auto* failed = std::get_if<pop3::event::failed>(&e))
      require(fuzz::is_clean(failed->reason.detail) && failed->reason.detail.size() < 4096, "a reason can be shown");
    if (const auto* refused = std::get_if<pop3::event::refused>(&e)) {
      require(fuzz::is_clean(refused->reason.detail) && refused->reason.detail.size() < 4096, "a reason can be shown");
      const bool sent_token = refused->kind == pop3::command_kind::login && (flags_ & token) != 0;
      require(!sent_token || refused->reason.detail.find("the-token") == std::string::npos, "no token in a reason");
    }
  }

  void react(const pop3::any_event& e) {
    if (std::holds_alternative<pop3::event::greeted>(e)) engine_.capa();
    if (std::holds_alternative<pop3::event::capabilities>(e) && !engine_.authenticated()) {
      if ((flags_ & use_stls) != 0 && engine_.stls()) return;
      engine_.login(who(flags_));
    }
    if (std::holds_alternative<pop3::event::start_tls>(e)) {
      engine_.tls_started();
      engine_.capa();
    }
    if (std::holds_alternative<pop3::event::logged_in>(e)) {
      engine_.capa();
      engine_.stat();
      engine_.uidl();
      engine_.list();
    }
    if (std::holds_alternative<pop3::event::listing_end>(e) && engine_.pending() == 0) {
      engine_.top(1, 0);
      for (std::uint32_t n = 1; n <= 3; ++n) engine_.retr(n);
      engine_.dele(1);
      engine_.noop();
      engine_.quit();
    }
  }

  std::uint8_t flags_;
  pop3::engine engine_;
  pop3::log log_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto flags = fuzz::take_byte(input);
  conversation whole(flags), cut(flags);
  whole.receive(input);
  // Pieces whose sizes follow from their place; each in memory of its own.
  for (std::size_t at = 0, n = 1; at < input.size(); n = n * 5 % 17 + (at % 3)) {
    const std::string piece(input.substr(at, n + 1));
    cut.receive(piece);
    at += piece.size();
  }
  // STLS is the one answer where the border counts: bytes in the same piece are an injection.
  if ((flags & use_stls) == 0) require(whole.lines() == cut.lines(), "events do not depend on how the bytes are cut");
  return 0;
}
