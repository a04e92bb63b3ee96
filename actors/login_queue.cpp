#include "actors/login_queue.hpp"

namespace mailherd::actors {

void login_queue::enter(hosts::iterator host) {
  const auto& l = host->second;
  if (l.running < per_host_ && !l.waiting.empty()) ready_.emplace(l.waiting.begin()->first, host);
}

void login_queue::leave(hosts::iterator host) {
  if (!host->second.waiting.empty()) ready_.erase(host->second.waiting.begin()->first);
}

void login_queue::add(request_ptr request) {
  const auto host = hosts_.try_emplace(request->host).first;
  leave(host);
  const key k{request->last_success, ++arrivals_};
  host->second.waiting.emplace(k, std::move(request));
  ++waiting_;
  enter(host);
}

void login_queue::limit_hosts(unsigned per_host) {
  if (per_host == per_host_) return;
  for (auto host = hosts_.begin(); host != hosts_.end(); ++host) leave(host);
  per_host_ = per_host;
  for (auto host = hosts_.begin(); host != hosts_.end(); ++host) enter(host);
}

login_queue::request_ptr login_queue::next() {
  if (running_ >= in_all_ || ready_.empty()) return nullptr;
  const auto host = ready_.begin()->second;
  auto& l = host->second;
  leave(host);
  auto request = std::move(l.waiting.begin()->second);
  l.waiting.erase(l.waiting.begin());
  --waiting_;
  ++l.running;
  ++running_;
  enter(host);
  return request;
}

void login_queue::finished(const std::string& name) {
  const auto host = hosts_.find(name);
  if (host == hosts_.end() || host->second.running == 0) return;
  leave(host);
  --host->second.running;
  --running_;
  enter(host);
  if (host->second.running == 0 && host->second.waiting.empty()) hosts_.erase(host);
}

}  // namespace mailherd::actors
