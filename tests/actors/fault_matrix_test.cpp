// The fault matrix: every fault in every phase, what state it leads to, and that only the token endpoint's own word asks a person to consent
// again. What it finds is docs/fault-matrix.md; FAULT_MATRIX_WRITE=1 writes that file anew.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/advice.hpp"
#include "protocol/oauth2/classify.hpp"
#include "tests/actors/fetching.hpp"

namespace mailherd::actors {
namespace {

using namespace std::chrono_literals;

enum class phase { refresh, login, select, fetch };
constexpr std::array phases{phase::refresh, phase::login, phase::select, phase::fetch};

/// One fault, and how it shows in a phase. Neither: it cannot happen there.
struct fault {
  std::string name;
  std::optional<error> network = {};          ///< of the way to the token endpoint, and to the mail server
  std::optional<net::http_reply> reply = {};  ///< of the token endpoint
  std::optional<std::string> mail = {};       ///< the mail server's line; "{tag}" is the command's; "reset": the connection breaks; "": silence
  provider_kind provider = provider_kind::custom;
};

/// A channel under one fault in one phase.
class cell : public test::fetching {
 public:
  cell(const fault& f, phase p) : fault_(f), phase_(p) {
    use_oauth2();
    row().load.app->provider = f.provider;
    row().load.app->token_url = "https://idp.test/token";
    row().load.app->scopes = {"mail"};
    good_ = http.answer;
  }
  void TestBody() override {}

  [[nodiscard]] bool possible() const {
    if (fault_.reply) return phase_ == phase::refresh;
    if (fault_.network) return phase_ == phase::refresh || phase_ == phase::login;
    return phase_ != phase::refresh;
  }

  void run() {
    fill(2);
    begin_fault();
    start_all();
    advance(10min);
    reached = row().states.empty() ? channel_state::connecting : row().state();
    reason = record().state_reason;
    for (const auto& s : row().states) reauths += s.state == channel_state::needs_reauth ? 1 : 0;
    calls = http.sent;
  }
  /// A day on, the fault still there.
  void wait_a_day() {
    advance(std::chrono::hours(24));
    calls_a_day = http.sent - calls;
  }
  void heal() {
    http.answer = good_;
    imap.on_command = {};
    net.refuse = {};
    advance(40min);
  }

  channel_state reached = channel_state::connecting;
  std::string reason;
  int reauths = 0;
  std::size_t calls = 0, calls_a_day = 0;

 private:
  void begin_fault() {
    if (phase_ == phase::refresh) {
      http.answer = [this](const net::http_request&) -> std::optional<result<net::http_reply>> {
        if (fault_.network) return fail(*fault_.network);
        return *fault_.reply;
      };
      return;
    }
    if (fault_.network) {
      net.refuse = [this](const net::target&) { return fault_.network; };
      return;
    }
    const std::string command = phase_ == phase::login ? "AUTHENTICATE" : phase_ == phase::select ? "SELECT EXAMINE" : "UID FETCH";
    imap.on_command = [this, command](test::imap_server::session& s, const test::imap_server::command& c) -> std::optional<std::string> {
      if (command.find(c.name) == std::string::npos) return std::nullopt;
      if (*fault_.mail == "reset") {
        s.line().reset();
        return "";
      }
      auto text = *fault_.mail;
      if (const auto at = text.find("{tag}"); at != std::string::npos) text.replace(at, 5, c.tag);
      return text.empty() ? text : text + "\r\n";
    };
  }

  fault fault_;
  phase phase_;
  std::function<std::optional<result<net::http_reply>>(const net::http_request&)> good_;
};

std::string words(const cell& c) {
  return c.reason.empty() ? std::string(to_string(c.reached)) : fmt::format("{} ({})", to_string(c.reached), c.reason);
}

std::vector<fault> passing_faults() {
  const auto network = [](const char* name, failure f) { return fault{name, error{f, "by order of the test", {}}}; };
  const auto reply = [](const char* name, int status, const char* body, std::vector<std::pair<std::string, std::string>> headers = {}) {
    return fault{name, {}, net::http_reply{status, std::move(headers), body}};
  };
  const auto mail = [](const char* name, const char* line) { return fault{name, {}, {}, line}; };
  return {network("the name does not resolve", failure::dns_failed),
          network("connection refused", failure::connect_refused),
          network("TLS fails", failure::tls_failed),
          network("no answer in time", failure::timed_out),
          reply("HTTP 429", 429, R"({"error":"invalid_grant"})"),
          reply("HTTP 500", 500, ""),
          reply("HTTP 503 with Retry-After", 503, "busy", {{"retry-after", "120"}}),
          reply("HTTP 502 that says invalid_grant", 502, R"({"error":"invalid_grant"})"),
          reply("HTML instead of JSON", 200, "<html>Sign in to the hotel's network</html>"),
          reply("HTML with 400", 400, "<html>invalid_grant</html>"),
          reply("an empty body", 200, ""),
          reply("a redirect", 302, "", {{"location", "https://elsewhere.test"}}),
          reply("an unknown error", 400, R"({"error":"never_heard_of"})"),
          mail("the connection breaks", "reset"),
          mail("silence", ""),
          mail("NO", "{tag} NO something is wrong"),
          mail("BAD", "{tag} BAD something is wrong"),
          mail("BYE", "* BYE see you"),
          mail("NO [UNAVAILABLE]", "{tag} NO [UNAVAILABLE] not now"),
          mail("NO [LIMIT]", "{tag} NO [LIMIT] too many"),
          mail("throttling text", "{tag} NO Request is throttled. Suggested Backoff Time: 299910 milliseconds"),
          mail("authenticated but not connected", "{tag} NO User is authenticated but not connected.")};
}

std::string table_of_passing() {
  std::string out = "| fault | refresh | login | select | fetch |\n|---|---|---|---|---|\n";
  for (const auto& f : passing_faults()) {
    out += "| " + f.name;
    for (const auto p : phases) {
      cell c(f, p);
      if (!c.possible()) {
        out += " | –";
        continue;
      }
      c.run();
      out += " | " + words(c);
      const auto where = fmt::format("{}, phase {}", f.name, static_cast<int>(p));
      EXPECT_EQ(c.reauths, 0) << where << "\n" << c.story();
      c.heal();
      if (c.reached == channel_state::needs_admin) c.changed();  // a person has given the right, and said so
      c.advance(1min);
      EXPECT_EQ(c.row().state(), channel_state::active) << where << " does not heal by itself\n" << c.story();
      c.expect_all_once();
    }
    out += " |\n";
  }
  return out;
}

void check_row(const std::string& name, failure meaning, provider_kind provider, const std::string& body, std::string& out) {
  const fault f{name, {}, net::http_reply{400, {}, body}, {}, provider};
  cell c(f, phase::refresh);
  c.run();
  out += fmt::format("| {} | {} |\n", name, words(c));
  const bool person = action_for(meaning) == action::reconsent;
  EXPECT_EQ(c.reached == channel_state::needs_reauth, person) << name;
  EXPECT_EQ(c.reauths, person ? 1 : 0) << name << ": one event\n" << c.story();
  if (person) {
    EXPECT_EQ(c.calls, 1U) << name << ": believed at once";
    c.wait_a_day();
    EXPECT_EQ(c.calls_a_day, 0U) << name << ": nobody is asked again";
    return;
  }
  if (meaning == failure::request_loop) return;  // stops hard, until a person looks
  c.heal();
  EXPECT_EQ(c.row().state(), channel_state::active) << name << " does not heal by itself\n" << c.story();
}

std::string table_of_errors() {
  std::string out = "| answer of the token endpoint | state |\n|---|---|\n";
  for (const auto& row : oauth2::error_rows()) {
    const auto provider = row.provider.value_or(provider_kind::custom);
    check_row(fmt::format("`{}`{}", row.name, row.provider ? fmt::format(" ({})", to_string(*row.provider)) : ""), row.meaning, provider,
              fmt::format(R"({{"error":"{}"}})", row.name), out);
  }
  for (const auto& row : oauth2::aadsts_rows())
    check_row(fmt::format("AADSTS{}{}", row.number, row.hint.empty() ? "" : fmt::format(": {}", row.hint)), row.meaning, provider_kind::microsoft,
              fmt::format(R"({{"error":"invalid_grant","error_description":"AADSTS{}: x","error_codes":[{}]}})", row.number, row.number), out);
  return out;
}

TEST(fault_matrix, only_the_token_endpoints_own_word_asks_for_consent) {
  const std::string text =
      "# Fault matrix\n\n"
      "What becomes of a channel that signs in by OAuth2 when a fault stays for ten minutes, by the phase in which it strikes: getting an access "
      "token,\n"
      "signing in, opening the mailbox, fetching. In brackets the `state_reason`. Written by the test `fault_matrix` (tests/actors), which also "
      "checks\n"
      "that none of these asks a person to consent again, that the channel serves again by itself when the fault is over (where an administrator "
      "must\n"
      "act: when he has), and that every message is stored once.\n\n" +
      table_of_passing() +
      "\n## What the token endpoint says\n\n"
      "Every row of the decision table. `needs_reauth` is believed at the first answer, is one event, and nobody is asked again until a person has\n"
      "consented; the others heal by themselves when the cause is gone.\n\n" +
      table_of_errors();
  const std::string path = MAILHERD_SOURCE_DIR "/docs/fault-matrix.md";
  if (std::getenv("FAULT_MATRIX_WRITE") != nullptr) {
    std::ofstream(path) << text;
    return;
  }
  std::ifstream in(path);
  std::stringstream present;
  present << in.rdbuf();
  EXPECT_EQ(present.str(), text) << "docs/fault-matrix.md is not what happens: FAULT_MATRIX_WRITE=1 writes it anew";
}

}  // namespace
}  // namespace mailherd::actors
