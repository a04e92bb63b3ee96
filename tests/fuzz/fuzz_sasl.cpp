// tests/fuzz: the SASL mechanisms against any challenges, and the choice against any offer.
//
// Input: a byte that names the mechanism, a line of offered names, then one challenge per line.
#include <vector>

#include "protocol/sasl/sasl.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace mailherd;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::string_view names[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"};
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto pick = fuzz::take_byte(input);
  const auto name = names[pick % 5];
  sasl::credentials who;
  who.username = "user";
  if (pick % 5 < 3) {
    who.password = secret<>(std::string("pencil"));
  } else {
    who.type = auth_type::oauth2;
    who.access_token = secret<>(std::string("the-secret-token"));
  }
  sasl::policy rules;
  rules.encrypted = (pick & 0x40) == 0;
  rules.scram_nonce = "rOprNGfwEbeRWgbNEkqO";

  std::vector<std::string> offered;
  std::string_view line = fuzz::take_line(input);
  while (!line.empty()) {
    const auto blank = line.find(' ');
    offered.emplace_back(line.substr(0, blank));
    line.remove_prefix(blank == std::string_view::npos ? line.size() : blank + 1);
  }
  const auto chosen = sasl::choose(offered, who, rules);
  if (!chosen) require(fuzz::is_clean(chosen.error().detail), "a reason can be shown");
  if (chosen && !rules.encrypted) require((*chosen)->name() == "SCRAM-SHA-256", "no secret in the clear");

  rules.encrypted = true;
  const auto m = sasl::make(name, who, rules);
  require(m.has_value(), "each mechanism can be made");
  if ((pick & 0x80) == 0) (void)(*m)->initial_response();
  for (int round = 0; round < 8 && !input.empty(); ++round) {
    const std::string challenge(fuzz::take_line(input));
    const auto answer = (*m)->respond(challenge);
    if (!answer) {
      require(fuzz::is_clean(answer.error().detail), "a reason can be shown");
      require(name == "PLAIN" || name == "XOAUTH2" || name == "OAUTHBEARER" || name == "LOGIN" || !(*m)->complete(),
              "a failed proof is no proof");
    }
    const auto detail = (*m)->failure_detail();
    require(fuzz::is_clean(detail) && detail.find("the-secret-token") == std::string::npos, "a detail can be shown");
  }
  return 0;
}
