// tests/peers/dovecot_config: implementation.
#include "tests/peers/dovecot_config.hpp"

#include <algorithm>
#include <sstream>
#include <string_view>

#include <fmt/format.h>

#include "tests/peers/files.hpp"

namespace mailherd::peers {

namespace {

/// Token checks, tried in this order: the account's own mailbox, a shared one, an application's whole domain, an opaque token.
std::string oauth2_passdbs(const dovecot_options& options, const std::filesystem::path& root) {
  struct check {
    std::string_view name, attribute, format;
  };
  constexpr check local[] = {{"own", "email", "%Lu"}, {"shared", "shared", "%Lu"}, {"app", "app_mailbox", "%Ld"}};
  std::string out;
  const auto add = [&](std::string_view name, std::string_view content) {
    const auto file = root / fmt::format("oauth2-{}.conf.ext", name);
    write_file(file, content);
    out += fmt::format("passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {}\n}}\n", file.string());
  };
  for (const auto& one : local) {
    if (!options.key_dir.empty()) {
      add(one.name, fmt::format("introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/\nusername_attribute = {}\n"
                                "username_format = {}\n",
                                options.key_dir.string(), one.attribute, one.format));
    }
  }
  for (const auto& one : local) {
    if (!options.introspection_url.empty()) {
      add(fmt::format("opaque-{}", one.name),
          fmt::format("introspection_mode = post\nintrospection_url = {}\nforce_introspection = yes\nusername_attribute = {}\n"
                      "username_format = {}\nactive_attribute = active\nactive_value = true\ntimeout_msecs = 5000\n",
                      options.introspection_url, one.attribute, one.format));
    }
  }
  return out;
}

std::string login_service(std::string_view protocol, std::uint16_t plain, std::uint16_t tls, const dovecot_options& options,
                          const dovecot_places& places) {
  const bool shared = options.max_sessions > 500;
  const auto address = places.address + (options.address_too.empty() ? "" : " " + options.address_too);
  std::string out = fmt::format("service {0}-login {{\n  inet_listener {0} {{\n    address = {3}\n    port = {1}\n  }}\n"
                                "  inet_listener {0}s {{\n    address = {3}\n    port = {2}\n    ssl = yes\n  }}\n",
                                protocol, plain, tls, address);
  if (!places.as_root) out += "  chroot =\n";
  // Shared processes: a process per login costs 1.3 MB each and half the login rate.
  if (shared) out += fmt::format("  service_count = 0\n  process_min_avail = 2\n  client_limit = {}\n", options.max_sessions + 1000);
  else out += fmt::format("  process_limit = {}\n", options.max_sessions);
  return out + "}\n";
}

/// Without TLS and without a login, as between two servers of one house.
std::string lmtp_service(const dovecot_places& places) {
  std::string out = fmt::format("service lmtp {{\n  inet_listener lmtp {{\n    address = {}\n    port = {}\n  }}\n", places.address,
                                places.lmtp);
  if (!places.as_root) out += fmt::format("  user = {}\n", places.self_user);
  return out + "}\nhostname = mail.acme.test\npostmaster_address = postmaster@acme.test\nsubmission_host = 127.0.0.1:1\n";
}

/// Those that the password file answers; tokens have passdbs of their own.
std::string password_mechanisms(const std::string& all) {
  std::istringstream words(all);
  std::string out;
  for (std::string word; words >> word;) {
    if (word != "xoauth2" && word != "oauthbearer") out += (out.empty() ? "" : " ") + word;
  }
  return out;
}

std::string hibernation(const dovecot_options& options, std::string_view internal_user) {
  return fmt::format("imap_hibernate_timeout = {0} secs\n"
                     "service imap-hibernate {{\n  client_limit = {1}\n  unix_listener imap-hibernate {{\n    mode = 0666\n  }}\n}}\n"
                     "service imap {{\n  unix_listener imap-master {{\n    user = {2}\n  }}\n{3}}}\n",
                     options.hibernate_after.count(), options.max_sessions + 100, internal_user,
                     internal_user == "dovecot" ? "  extra_groups = dovecot\n" : "");
}

}  // namespace

std::filesystem::path write_dovecot_config(const dovecot_options& options, const dovecot_places& places, const certificate& tls) {
  const auto flag = [](bool on) { return on ? "yes" : "no"; };
  const std::string internal_user = places.as_root ? "dovecot" : places.self_user;
  const unsigned sessions = options.max_sessions;
  std::string text = fmt::format(
      "protocols = imap pop3 lmtp\nlisten = {}\nbase_dir = {}\nstate_dir = {}\nlog_path = {}\nssl = yes\nssl_cert = <{}\nssl_key = <{}\n"
      "ssl_min_protocol = TLSv1.2\nauth_mechanisms = {}\ndisable_plaintext_auth = {}\n"
      "auth_failure_delay = {} secs\nauth_cache_size = {}\nmail_location = maildir:{}/%Lu\nmail_max_userip_connections = {}\n"
      "mail_fsync = {}\nfirst_valid_uid = 1\nfirst_valid_gid = 1\nlogin_trusted_networks =\nverbose_proctitle = no\n"
      "stats_writer_socket_path =\n",
      places.address, places.run_dir.string(), (places.root / "state").string(), places.log_file.string(), tls.certificate_file.string(),
      tls.key_file.string(), options.mechanisms, flag(!options.plaintext_login), options.auth_failure_delay.count(),
      options.auth_cache ? "1M" : "0", places.mail_dir.string(), options.max_userip_connections, options.fsync ? "always" : "never");
  text += places.as_root ? std::string("mail_uid = nobody\nmail_gid = nogroup\n")
                         : fmt::format("mail_uid = {0}\nmail_gid = {1}\ndefault_internal_user = {0}\ndefault_login_user = {0}\n"
                                       "default_internal_group = {1}\n",
                                       places.self_user, places.self_group);
  text += fmt::format("default_client_limit = {}\ndefault_process_limit = {}\n", std::max(1000U, 4 * sessions + 1000),
                      std::max(100U, sessions));
  text += fmt::format("service imap {{\n  process_limit = {0}\n}}\nservice pop3 {{\n  process_limit = {0}\n}}\n", sessions);
  text += fmt::format("service auth {{\n  client_limit = {0}\n}}\nservice anvil {{\n  client_limit = {0}\n{1}{2}}}\n", 6 * sessions + 2000,
                      places.as_root ? "" : "  chroot =\n",
                      options.auth_penalty ? "" : "  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n");
  text += login_service("imap", places.imap, places.imaps, options, places);
  text += login_service("pop3", places.pop3, places.pop3s, options, places);
  text += lmtp_service(places);
  if (options.hibernate) text += hibernation(options, internal_user);
  if (!options.capability.empty()) text += fmt::format("imap_capability = {}\n", options.capability);
  // "/" between levels as at Exchange and most others; Maildir++ writes "." on disk.
  text += "namespace inbox {\n  inbox = yes\n  separator = /\n}\n";
  text += oauth2_passdbs(options, places.root);
  // A file per user, read at every login: a changed password counts at once (a passwd-file is looked at once a second).
  write_file(places.root / "passwords.conf.ext",
             fmt::format("uri = fs:posix:prefix={}/\niterate_disable = yes\ndefault_pass_scheme = PLAIN\nkey passdb {{\n"
                         "  key = passdb/%Lu\n  format = json\n}}\npassdb_objects = passdb\n",
                         places.password_dir.parent_path().string()));
  text += fmt::format("passdb {{\n  driver = dict\n  mechanisms = {}\n  args = {}\n}}\n", password_mechanisms(options.mechanisms),
                      (places.root / "passwords.conf.ext").string());
  text += "userdb {\n  driver = static\n  args = allow_all_users=yes\n}\n" + options.extra + "\n";
  const auto file = places.root / "dovecot.conf";
  write_file(file, text);
  return file;
}

}  // namespace mailherd::peers
