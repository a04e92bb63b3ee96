// actors/session/pop3_session: pumps the POP3 engine over one connection: opens, lists, fetches, deletes, quits.
//
// Owns:   the order of the opening (CAPA, STLS, CAPA, login, CAPA, STAT), which command belongs to which request, identities for servers
//         without UIDL.
// Never:  decides which message to fetch or delete.
// Threads: its reactor.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/session/arrivals.hpp"
#include "actors/session/session_base.hpp"
#include "protocol/pop3/engine.hpp"

namespace mailherd::actors {

class pop3_session final : public session_base {
 public:
  pop3_session(const environment& env, net::reactor& where, session_plan plan, session_listener on_event);

  void list(std::uint64_t request, mailherd::uid, mailherd::uid);
  void list_since(std::uint64_t request, wall_time) { list(request, {}, {}); }
  void fetch(std::uint64_t request, std::vector<listing_entry> entries, fetch_mode mode, std::uint64_t max_bytes,
             std::shared_ptr<fetch_budget::share> share);
  void apply(std::uint64_t request, std::vector<listing_entry> entries, mark what);
  void watch() {}
  void count();
  void close();
  [[nodiscard]] bool serving() const { return step_ == step::serving && !over(); }

 protected:
  void on_connected() override;
  void on_tls() override;
  void on_bytes(std::string_view bytes) override;
  error why_ended(error transport) override;
  bool on_deadline() override;
  void describe_loss(session_event::ended& e) override;
  void on_finished() override;

 private:
  enum class step : std::uint8_t { greeting, capa_clear, stls, capa, login, capa_in, stat, serving, closing };
  enum class purpose : std::uint8_t { opening, uidl, sizes, identity, message, dele, stat, quit };
  struct sent {
    pop3::command_id id = 0;
    purpose what = purpose::opening;
    listing_entry entry;       ///< message, identity, dele
    std::uint64_t request = 0; ///< message: the fetch it belongs to. Not the first one under way: that may still be writing chunks
  };
  /// A listing under way: numbers to identity and size.
  struct listing {
    std::uint64_t request = 0;
    std::vector<listing_entry> entries;    ///< as UIDL told them; by number when LIST has ended
    std::vector<std::pair<std::uint32_t, std::uint64_t>> sizes;   ///< number and octets as LIST tells them
    bool has_identities = true;
    std::size_t unidentified = 0;          ///< TOPs not answered yet
    std::optional<error> refusal;          ///< of a TOP
    std::string head;                      ///< of the message whose TOP is arriving
  };
  struct marking {
    std::uint64_t request = 0;
    std::size_t outstanding = 0;
    std::optional<error> refusal;
  };

  void handle(pop3::any_event& event);
  void put_sizes();
  void on_chunk(std::string_view bytes);
  void on_body_end(std::uint32_t number);
  void on_refused(const pop3::event::refused& e);
  void next_step(bool supported);
  void log_in();
  void opened(std::uint32_t messages);
  bool expect(result<pop3::command_id> id, purpose what, listing_entry entry = {}, std::uint64_t request = 0);
  /// Of the message that is answered now.
  fetch_request* fetch_at_hand();
  void finish_listing();
  void identify_by_head();
  [[nodiscard]] std::optional<error> nameless(const listing& l) const;
  void settle();
  void pump();
  [[nodiscard]] sasl::credentials who() const;
  listing_entry* entry_of(std::uint32_t number);

  pop3::engine engine_;
  step step_ = step::greeting;
  std::string mechanism_;
  std::optional<seconds> login_delay_;
  std::uint32_t messages_ = 0;             ///< as STAT told when it was opened
  std::deque<sent> sent_;                  ///< answered in order (RFC 2449, 6.8)
  std::unique_ptr<listing> listing_;
  std::deque<marking> marks_;
  std::deque<fetch_request> fetches_;
};

}  // namespace mailherd::actors
