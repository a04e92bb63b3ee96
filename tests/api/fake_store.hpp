// tests/api/fake_store: a store of a few maps, for what a real database cannot be asked to do on command: be down, be full, fail.
//
// Owns:   rows in memory, a worker thread, switches for faults. Shares the walls' behaviour (caller, not_found) with the real one.
// Used by: service_test. The same API runs against PostgreSQL in postgres_test.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "storage/store.hpp"

namespace mailherd::test {

class fake_admin final : public store::admin_store {
 public:
  using caller = store::caller;
  template <class T>
  using page = store::page<T>;

  std::map<tenant_id, tenant_record> tenants;
  std::map<api_key_id, std::pair<tenant_id, store::api_key_record>> keys;
  std::map<sha256_digest, api_key_id> digests;
  std::map<app_id, oauth_app> apps;
  std::map<channel_id, channel_record> channels;
  std::map<channel_id, credential> credentials;
  std::map<tenant_id, std::vector<std::pair<store::stored_message, std::string>>> mail;
  std::map<std::pair<std::string, std::string>, std::pair<sha256_digest, std::optional<remembered>>> idempotent;
  std::int64_t next = 1;
  int body_reads = 0, key_lookups = 0;
  std::vector<std::string> draining;
  std::vector<std::pair<channel_id, std::string>> moves;
  int edits_between = 0;  ///< so many edits by somebody else come just before ours

  bool may(const caller& who, tenant_id t) const { return tenants.contains(t) && (!who.only || *who.only == t); }
  static tl::unexpected<error> missing() { return fail(failure::not_found); }

  template <class Map, class Fn>
  static auto cut(const Map& all, std::size_t limit, const std::string& after, Fn want) {
    using T = std::decay_t<decltype(*want(all.begin()->first, all.begin()->second))>;
    page<T> p;
    const auto from = after.empty() ? 0 : std::stoll(after);
    std::int64_t last = 0;
    for (const auto& [id, value] : all) {
      if (id.value <= from) continue;
      const T* row = want(id, value);
      if (row == nullptr) continue;
      if (p.items.size() == limit) {
        p.next = std::to_string(last);
        break;
      }
      p.items.push_back(*row);
      last = id.value;
    }
    return p;
  }

  result<void> ping() override { return {}; }
  result<tenant_record> create_tenant(const std::string& name, const tenant_limits& limits) override {
    const tenant_id id{next++};
    return tenants[id] = {id, name, limits, {}};
  }
  result<tenant_record> get_tenant(const caller& who, tenant_id t) override {
    if (!may(who, t)) return missing();
    return tenants[t];
  }
  result<page<tenant_record>> list_tenants(const caller& who, std::size_t limit, const std::string& after) override {
    return cut(tenants, limit, after, [&](tenant_id id, const tenant_record& t) { return may(who, id) ? &t : nullptr; });
  }
  result<tenant_record> update_tenant(tenant_id t, const std::optional<std::string>& name,
                                      const std::optional<tenant_limits>& limits) override {
    if (!tenants.contains(t)) return missing();
    if (name) tenants[t].name = *name;
    if (limits) tenants[t].limits = *limits;
    return tenants[t];
  }
  result<void> delete_tenant(tenant_id t) override {
    if (tenants.erase(t) == 0) return missing();
    return {};
  }
  result<store::api_key_record> create_api_key(const caller& who, tenant_id t, const std::string& name,
                                               const sha256_digest& digest) override {
    if (!may(who, t)) return missing();
    const api_key_id id{next++};
    digests[digest] = id;
    keys[id] = {t, {id, name, {}, {}}};
    return keys[id].second;
  }
  result<std::vector<store::api_key_record>> list_api_keys(const caller& who, tenant_id t) override {
    if (!may(who, t)) return missing();
    std::vector<store::api_key_record> all;
    for (const auto& [id, k] : keys)
      if (k.first == t) all.push_back(k.second);
    return all;
  }
  result<void> delete_api_key(const caller& who, tenant_id t, api_key_id key) override {
    if (!may(who, t) || !keys.contains(key) || keys[key].first != t) return missing();
    keys.erase(key);
    std::erase_if(digests, [&](const auto& d) { return d.second == key; });
    return {};
  }
  result<std::optional<std::pair<tenant_id, api_key_id>>> find_api_key(const sha256_digest& digest) override {
    ++key_lookups;
    const auto at = digests.find(digest);
    if (at == digests.end()) return std::nullopt;
    return std::pair{keys[at->second].first, at->second};
  }
  result<oauth_app> create_app(const caller& who, const oauth_app& app) override {
    if (!may(who, app.tenant)) return missing();
    const app_id id{next++};
    apps[id] = app;
    apps[id].id = id;
    return apps[id];
  }
  result<oauth_app> get_app(const caller& who, tenant_id t, app_id app) override {
    if (!may(who, t) || !apps.contains(app) || apps[app].tenant != t) return missing();
    return apps[app];
  }
  result<page<oauth_app>> list_apps(const caller& who, tenant_id t, std::size_t limit, const std::string& after) override {
    if (!may(who, t)) return missing();
    return cut(apps, limit, after, [&](app_id, const oauth_app& a) { return a.tenant == t ? &a : nullptr; });
  }
  result<oauth_app> update_app(const caller& who, const oauth_app& app) override {
    if (auto old = get_app(who, app.tenant, app.id); !old) return missing();
    return apps[app.id] = app;
  }
  result<void> delete_app(const caller& who, tenant_id t, app_id app) override {
    if (auto old = get_app(who, t, app); !old) return missing();
    for (const auto& [id, c] : channels)
      if (c.app == app) return fail(failure::conflict, "a channel uses it");
    apps.erase(app);
    return {};
  }
  result<channel_record> create_channel(const caller& who, tenant_id t, const channel_spec& spec, const credential& auth,
                                        const std::string&) override {
    if (!may(who, t)) return missing();
    channel_record c;
    c.id = {next++};
    c.tenant = t;
    c.spec = spec;
    c.auth = auth.type;
    c.account = auth.username;
    c.app = auth.app;
    c.has_grant = auth.type == auth_type::basic || !auth.refresh_token.empty();
    credentials[c.id] = auth;
    return channels[c.id] = c;
  }
  result<channel_record> get_channel(const caller& who, tenant_id t, channel_id id) override {
    if (!may(who, t) || !channels.contains(id) || channels[id].tenant != t) return missing();
    return channels[id];
  }
  result<page<channel_record>> list_channels(const caller& who, tenant_id t, const store::channel_filter& f, std::size_t limit,
                                             const std::string& after) override {
    if (!may(who, t)) return missing();
    return cut(channels, limit, after, [&](channel_id, const channel_record& c) {
      return c.tenant == t && (!f.state || c.state == *f.state) && c.spec.name.find(f.text) != std::string::npos &&
                     (f.node.empty() || c.node == f.node)
                 ? &c
                 : nullptr;
    });
  }
  result<channel_record> update_channel(const caller& who, tenant_id t, channel_id id, const channel_spec& spec, std::int64_t revision,
                                        const std::string&) override {
    if (auto old = get_channel(who, t, id); !old) return missing();
    auto& c = channels[id];
    if (edits_between > 0) {
      --edits_between;
      ++c.revision;
      c.spec.address = "changed@between.test";
    }
    if (revision != c.revision) return fail(failure::conflict);
    c.spec = spec;
    ++c.revision;
    return c;
  }
  result<void> delete_channel(const caller& who, tenant_id t, channel_id id) override {
    if (auto old = get_channel(who, t, id); !old) return missing();
    channels.erase(id);
    return {};
  }
  result<std::int64_t> put_credential(const caller& who, tenant_id t, channel_id id, const credential& auth, const std::string&) override {
    if (auto old = get_channel(who, t, id); !old) return missing();
    credentials[id] = auth;
    channels[id].switching = switch_state::running;
    return ++channels[id].generation;
  }
  result<page<store::channel_event>> list_events(const caller& who, tenant_id t, channel_id id, std::size_t, const std::string&) override {
    if (auto old = get_channel(who, t, id); !old) return missing();
    return page<store::channel_event>{{{{1}, {}, "created", "connecting", "", "", "operator"}}, ""};
  }
  result<std::vector<store::stored_message>> feed(const caller& who, tenant_id t, std::optional<channel_id> channel, std::int64_t after,
                                                  std::size_t limit) override {
    if (!may(who, t)) return missing();
    std::vector<store::stored_message> out;
    for (const auto& [m, raw] : mail[t])
      if (m.id.position > after && (!channel || m.channel == *channel) && out.size() < limit) out.push_back(m);
    return out;
  }
  result<store::stored_message> get_message(const caller& who, message_id id) override {
    if (!may(who, id.tenant)) return missing();
    for (const auto& [m, raw] : mail[id.tenant])
      if (m.id == id) return m;
    return missing();
  }
  result<void> read_body(const caller& who, message_id id, const std::function<bool(std::string_view)>& sink) override {
    if (!may(who, id.tenant)) return missing();
    ++body_reads;
    for (const auto& [m, raw] : mail[id.tenant]) {
      if (m.id != id) continue;
      for (std::size_t at = 0; at < raw.size(); at += limits::chunk_bytes)
        if (!sink(std::string_view(raw).substr(at, limits::chunk_bytes))) return {};
      return {};
    }
    return missing();
  }
  std::map<sha256_digest, store::console_session> sessions;
  result<wall_time> create_session(const sha256_digest& cookie, const store::console_session& session, seconds life) override {
    sessions[cookie] = session;
    return sessions[cookie].expires_at = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()) + life;
  }
  result<std::optional<store::console_session>> find_session(const sha256_digest& cookie) override {
    const auto at = sessions.find(cookie);
    if (at == sessions.end() || (at->second.who.only && !keys.contains(at->second.key))) return std::nullopt;
    return at->second;
  }
  result<void> delete_session(const sha256_digest& cookie) override {
    sessions.erase(cookie);
    return {};
  }
  result<std::vector<store::stored_message>> newest(const caller& who, tenant_id t, std::optional<channel_id> channel, std::int64_t before,
                                                    std::size_t limit) override {
    if (!may(who, t)) return missing();
    std::vector<store::stored_message> out;
    for (auto m = mail[t].rbegin(); m != mail[t].rend(); ++m)
      if ((before == 0 || m->first.id.position < before) && (!channel || m->first.channel == *channel) && out.size() < limit)
        out.push_back(m->first);
    return out;
  }
  result<std::vector<store::activity_slice>> activity(const caller& who, tenant_id t, channel_id id, seconds, std::size_t) override {
    if (auto c = get_channel(who, t, id); !c) return missing();
    std::vector<store::activity_slice> out;
    if (const auto n = std::count_if(mail[t].begin(), mail[t].end(), [&](const auto& m) { return m.first.channel == id; }); n > 0)
      out.push_back({{}, n, 0.5});
    return out;
  }
  result<std::vector<channel_record>> attention(const caller& who, std::size_t limit) override {
    std::vector<channel_record> out;
    for (const auto& [id, c] : channels)
      if (may(who, c.tenant) && (!c.has_grant || c.state == channel_state::needs_reauth) && out.size() < limit) out.push_back(c);
    return out;
  }
  result<std::vector<store::node_record>> list_nodes() override {
    return std::vector<store::node_record>{{"here", "1.0", "active", 3, 0.5}, {"there", "1.0", "lost", 0, 99}};
  }
  result<void> drain_node(const std::string& node) override {
    if (node == "there") return fail(failure::conflict, "the node is lost: its channels go to others by themselves");
    if (node != "third") return missing();
    draining.push_back(node);
    return {};
  }
  result<void> move_channel(const caller& who, tenant_id tenant, channel_id id, const std::string& node, const std::string&) override {
    if (auto mine = get_channel(who, tenant, id); !mine) return fail(mine.error());
    if (node == "there") return fail(failure::conflict, "the node is lost");
    if (node != "here" && node != "third") return fail(failure::invalid_input, "there is no node of this name");
    moves.emplace_back(id, node);
    return {};
  }
  result<std::vector<store::channel_gauge>> gauges() override { return std::vector<store::channel_gauge>{}; }
  result<std::optional<remembered>> begin_idempotent(const std::string& scope, const std::string& key,
                                                     const sha256_digest& request) override {
    const auto [at, fresh] = idempotent.try_emplace({scope, key}, request, std::nullopt);
    if (fresh) return std::nullopt;
    if (at->second.first != request || !at->second.second) return fail(failure::conflict);
    return at->second.second;
  }
  result<void> finish_idempotent(const std::string& scope, const std::string& key, const remembered& answer) override {
    idempotent[{scope, key}].second = answer;
    return {};
  }
  result<void> forget_idempotent(const std::string& scope, const std::string& key) override {
    idempotent.erase({scope, key});
    return {};
  }
};

/// Only `load_channel` is asked by the API.
class fake_mail final : public store::mail_store {
 public:
  explicit fake_mail(fake_admin& admin) : admin_(admin) {}
  using guard = store::lease_guard;
  static tl::unexpected<error> no() { return fail(failure::internal, "not in this test"); }
  result<std::vector<store::commit_outcome>> commit(const std::vector<store::commit_unit>&) override { return no(); }
  result<blob_id> new_blob(const guard&) override { return no(); }
  result<void> put_chunk(const guard&, blob_id, std::int32_t, const std::string&) override { return no(); }
  result<blob_id> put_bodies(const guard&, const std::vector<std::shared_ptr<const std::string>>&) override { return no(); }
  result<store::cursor> load_cursor(const guard&, protocol_kind, const std::string&) override { return no(); }
  result<std::vector<std::string>> unknown_uidls(const guard&, const std::vector<std::string>&) override { return no(); }
  result<store::listed_origins> listed_origins(const guard&, const std::vector<std::string>&) override { return no(); }
  result<std::vector<uid>> stored_uids(const guard&, const std::string&, uid_validity, uid, uid, after_fetch, std::size_t) override { return no(); }
  result<std::vector<store::stored_uidl>> stored_uidls(const guard&, const std::vector<std::string>&) override { return no(); }
  result<std::vector<store::candidate>> find_candidates(const guard&, const std::string&, uid_validity,
                                                        const std::vector<std::pair<std::optional<wall_time>, std::uint64_t>>&, store::identities) override {
    return no();
  }
  result<unsigned> note_try(const guard&, const message_source&) override { return no(); }
  result<void> set_state(const guard&, const state_change&) override { return no(); }
  result<void> touch_success(const std::vector<std::pair<guard, wall_time>>&) override { return no(); }
  result<channel_load> load_channel(tenant_id, channel_id id) override {
    channel_load l;
    l.record = admin_.channels[id];
    l.credential = admin_.credentials[id];
    if (l.record.app) l.app = admin_.apps[l.record.app];
    return l;
  }
  result<void> rotate_refresh_token(const guard&, std::int64_t, const secret<>&, const secret<>&, const std::string&) override {
    return no();
  }
  result<incarnation> join(const std::string&, const std::string&, seconds, std::size_t) override { return no(); }
  result<void> renew(const incarnation&, seconds, std::size_t) override { return no(); }
  result<std::vector<guard>> claim(const incarnation&, std::size_t) override { return no(); }
  result<std::vector<guard>> owned(const incarnation&) override { return no(); }
  result<void> release(const incarnation&, const std::vector<guard>&) override { return no(); }
  result<void> leave(const incarnation&) override { return no(); }
  result<std::vector<change>> changes_since(const incarnation&, std::int64_t) override { return no(); }
  result<void> sweep() override { return no(); }
  result<survey> look_around() override { return no(); }
  result<void> start_draining(const incarnation&) override { return no(); }
  result<std::size_t> make_offers(const incarnation&, move_reason, const std::vector<offer>&, std::size_t) override { return no(); }
  result<std::vector<handover>> handovers(const incarnation&) override { return no(); }
  result<void> answer_offers(const incarnation&, const std::vector<std::pair<guard, readiness>>&) override { return no(); }
  result<void> withdraw_offers(const incarnation&, const std::vector<guard>&) override { return no(); }
  result<std::vector<channel_id>> pass_on(const incarnation&, const std::vector<std::pair<guard, incarnation_id>>&) override { return no(); }
  result<void> take_passed(const incarnation&, const std::vector<guard>&) override { return no(); }

 private:
  fake_admin& admin_;
};

/// One worker. `guard` is held while a job runs: the test locks it to look at the rows.
class fake_executor final : public store::executor {
 public:
  fake_executor() : thread_([this] { run(); }) {}
  ~fake_executor() override {
    {
      const std::lock_guard lock(queue_guard_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  bool submit(deadline, job work, bool) override {
    {
      const std::lock_guard lock(queue_guard_);
      if (full) return false;
      jobs_.push_back(std::move(work));
    }
    changed_.notify_all();
    return true;
  }
  [[nodiscard]] std::size_t queued() const override { return 0; }

  std::mutex guard;
  fake_admin admin;
  fake_mail mail{admin};
  std::atomic<bool> full{false}, down{false}, drops{false};
  std::atomic<int> ran{0};

 private:
  void run() {
    std::unique_lock lock(queue_guard_);
    while (true) {
      changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (ending_) return jobs_.clear();
      auto work = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      {
        const std::lock_guard rows(guard);
        store::session session{mail, admin};
        if (drops)
          work = nullptr;
        else if (down)
          work(fail(failure::store_unavailable, "connection refused at 10.0.0.1"));
        else
          work(&session);
        work = nullptr;
      }
      ++ran;
      ran.notify_all();
      lock.lock();
    }
  }

  std::mutex queue_guard_;
  std::condition_variable changed_;
  std::deque<job> jobs_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace mailherd::test
