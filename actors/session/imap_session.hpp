// actors/session/imap_session: pumps the IMAP engine over one connection: opens, lists, fetches, marks, waits for changes, logs out.
//
// Owns:   the order of the opening (CAPABILITY, STARTTLS, login, SELECT), which answer belongs to which request, the rhythm of IDLE.
// Never:  decides which message to fetch or mark.
// Threads: its reactor.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/session/arrivals.hpp"
#include "actors/session/session_base.hpp"
#include "protocol/imap/engine.hpp"

namespace mailherd::actors {

class imap_session final : public session_base {
 public:
  imap_session(const environment& env, net::reactor& where, session_plan plan, session_listener on_event);

  void list(std::uint64_t request, mailherd::uid after, mailherd::uid upto);
  void list_since(std::uint64_t request, wall_time since);
  void fetch(std::uint64_t request, std::vector<listing_entry> entries, fetch_mode mode, std::uint64_t max_bytes,
             std::shared_ptr<fetch_budget::share> share);
  void apply(std::uint64_t request, std::vector<listing_entry> entries, mark what);
  void watch();
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
  enum class step : std::uint8_t { greeting, capa_clear, starttls, capa, login, capa_in, id, select, serving, closing };
  enum class watching : std::uint8_t { no, idle, look, poll };

  struct listing {
    std::uint64_t request = 0;
    imap::command_id command = 0;
    mailherd::uid after, upto;
    bool by_search = false;
    std::vector<listing_entry> entries;
  };
  struct marking {
    std::uint64_t request = 0;
    std::vector<imap::command_id> commands;   ///< not answered yet
    std::optional<error> refusal;
  };
  /// A message asked for and not delivered yet.
  struct awaited {
    std::uint64_t request = 0;
    imap::command_id command = 0;
    listing_entry entry;
  };

  void handle(imap::any_event& event);
  void next_step();
  void log_in();
  void after_login();
  void select();
  bool expect(const result<imap::command_id>& id);
  void on_opened(const imap::event::selected& e);
  void on_body_begin(const imap::event::body_begin& e);
  void on_fetched(const imap::event::fetched& e);
  void on_done(imap::command_id id, imap::command_kind kind, std::optional<error> refusal);
  void on_fetch_done(imap::command_id id, std::optional<error> refusal);
  void on_mark_done(imap::command_id id, std::optional<error> refusal);
  void finish_listing();
  fetch_request* request_of(std::uint64_t id);
  fetch_request* request_with_command();
  void settle();
  void begin_watching();
  void stop_watching();
  void pump();

  imap::engine engine_;
  step step_ = step::greeting;
  watching watching_ = watching::no;
  bool changed_ = false;            ///< EXISTS or EXPUNGE since the last complete listing
  bool idle_works_ = true;
  mono_time idle_since_{};
  std::string mechanism_;
  std::unique_ptr<listing> listing_;
  imap::command_id count_ = 0;
  std::vector<marking> marks_;
  std::vector<std::unique_ptr<fetch_request>> fetches_;
  /// By UID; and the commands of the fetches in flight, in order.
  std::unique_ptr<std::unordered_map<std::uint32_t, awaited>> awaited_;
  std::vector<std::pair<imap::command_id, std::uint64_t>> fetch_commands_;
  std::uint64_t arriving_ = 0;      ///< request whose arrivals the present body goes to; 0: to nobody
  mailherd::uid arriving_uid_;
};

}  // namespace mailherd::actors
