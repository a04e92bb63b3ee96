// tests/peers/imap_fake_state: what the fake's mailboxes and its sessions share.
//
// Owns:   the state behind imap_fake, and one session's conversation. Never included outside imap_fake's source files.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>

#include "tests/peers/fake_accounts.hpp"
#include "tests/peers/imap_fake.hpp"

namespace mailherd::peers {

struct fake_folder {
  std::uint32_t uid_validity = 1000;
  std::uint32_t uid_next = 1;
  std::uint64_t modseq = 1;
  std::vector<fake_message> messages;
};

class imap_session;

struct imap_fake::state {
  imap_fake_options options;
  fake_accounts accounts;
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::map<std::string, fake_folder> folders;
  command_hook on_command;
  fetch_hook on_fetch;
  int exists_lie = 0;
  std::map<std::string, std::size_t> counts;
  std::vector<std::pair<std::string, std::string>> logins;
  std::map<std::string, unsigned> sessions_of;  ///< account → authenticated sessions
  std::vector<imap_session*> idling;
  std::unique_ptr<scripted_server> server;      ///< last: its threads use the rest

  fake_folder& folder(std::string_view name);   ///< made if missing; call under the lock
  void tell() { server->wake_all(); }
};

/// One connection, from greeting to end.
class imap_session {
 public:
  imap_session(imap_fake::state& fake, connection& line) : fake_(fake), line_(line) {}
  ~imap_session();
  imap_session(const imap_session&) = delete;
  imap_session& operator=(const imap_session&) = delete;
  void run();

  std::deque<std::pair<std::string, bool>> pushed;  ///< guarded by the fake's lock: raw line, and whether to close after it

 private:
  enum class after { go_on, end };

  imap_command read_command();
  after answer(const imap_command& command);
  after answer_selected(const imap_command& command);
  bool hooked(const imap_command& command, after& result);
  void authenticate(const imap_command& command);
  void login(const imap_command& command);
  void signed_in(const imap_command& command, const sasl_response& who, const std::string& mechanism);
  void refuse(const imap_command& command, bool token);
  void select(const imap_command& command);
  void status(const imap_command& command);
  void list(const imap_command& command);
  void search(const imap_command& command, bool by_uid);
  void fetch(const imap_command& command, bool by_uid);
  void store(const imap_command& command, bool by_uid);
  void move(const imap_command& command, bool by_uid);
  void expunge(const imap_command& command, bool by_uid);
  after idle(const imap_command& command);
  /// What changed in the mailbox since the client was told last; call under the lock.
  std::string news(bool with_expunge);
  void tell_news(bool with_expunge);
  void emit(std::string_view bytes);
  void done(const imap_command& command, std::string_view text = "done");
  void no(const imap_command& command, std::string_view text);
  [[nodiscard]] std::string capabilities() const;
  /// Positions in `seen_` that a set names.
  [[nodiscard]] std::vector<std::size_t> chosen(std::string_view set, bool by_uid) const;
  fake_folder& here() { return fake_.folder(folder_); }
  fake_message* find(std::uint32_t uid);

  imap_fake::state& fake_;
  connection& line_;
  std::string account_;
  std::string folder_;
  bool selected_ = false;
  bool condstore_ = false;
  std::vector<std::uint32_t> seen_;   ///< UIDs by sequence number, as the client knows them
  std::uint64_t told_modseq_ = 0;
};

}  // namespace mailherd::peers
