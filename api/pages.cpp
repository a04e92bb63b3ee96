// api/pages: see the header.
#include "api/pages.hpp"

#include <fmt/format.h>

#include "api/tokens.hpp"
#include "core/base64.hpp"

namespace mailherd::api {

namespace {

constexpr std::string_view style =
    "body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;background:#f3f5f8;color:#1c2530;"
    "font:16px/1.5 system-ui,sans-serif}"
    "main{background:#fff;border:1px solid #dde3ea;border-radius:12px;max-width:34rem;margin:1rem;padding:2rem;box-shadow:0 1px 3px #0001}"
    "h1{font-size:1.35rem;margin:0 0 .75rem}p{margin:.5rem 0}dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:1rem 0}"
    "dt{color:#5b6876}dd{margin:0;font-weight:600;overflow-wrap:anywhere}small{color:#5b6876;overflow-wrap:anywhere}"
    "form{display:inline-block;margin:1rem .75rem 0 0}"
    "button,a.button{font:inherit;display:inline-block;border:1px solid #1f5fbf;border-radius:8px;background:#1f5fbf;color:#fff;padding:.5rem 1rem;"
    "text-decoration:none;cursor:pointer}"
    "button.second{background:#fff;color:#1f5fbf}button:focus-visible,a:focus-visible{outline:3px solid #8ab4f8;outline-offset:2px}"
    "@media(prefers-color-scheme:dark){body{background:#11161c;color:#e6ebf1}main{background:#1a212a;border-color:#2c3642}dt,small{color:#9aa7b5}"
    "button.second{background:#1a212a;color:#8ab4f8}}";

const std::string& policy() {
  static const std::string text = [] {
    const auto digest = digest_of(style);
    return fmt::format("default-src 'none'; style-src 'sha256-{}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
                       base64_encode({reinterpret_cast<const char*>(digest.data()), digest.size()}));
  }();
  return text;
}

response page(int status, std::string_view title, const std::string& body, const std::string& head = {}) {
  response r;
  r.status = status;
  r.headers = {{"Content-Type", "text/html; charset=utf-8"}, {"Content-Security-Policy", policy()}, {"Cache-Control", "no-store"},
               {"Referrer-Policy", "no-referrer"},           {"X-Content-Type-Options", "nosniff"}, {"X-Frame-Options", "DENY"}};
  r.body = fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta name=\"robots\" content=\"noindex\">{}<title>{}</title><style>{}</style></head><body><main><h1>{}</h1>{}</main></body></html>\n",
      head, escape_html(title), style, escape_html(title), body);
  return r;
}

std::string paragraph(std::string_view text) { return text.empty() ? "" : fmt::format("<p>{}</p>", escape_html(text)); }
std::string small(std::string_view text) { return text.empty() ? "" : fmt::format("<p><small>{}</small></p>", escape_html(text)); }

std::string facts(const std::vector<std::pair<std::string_view, std::string>>& all) {
  std::string out;
  for (const auto& [name, value] : all)
    if (!value.empty()) out += fmt::format("<dt>{}</dt><dd>{}</dd>", escape_html(name), escape_html(value));
  return out.empty() ? out : "<dl>" + out + "</dl>";
}

/// A button that follows a link of ours.
std::string button(const std::string& token, std::string_view words, bool second = false) {
  if (token.empty()) return {};
  return fmt::format("<form method=\"post\" action=\"/oauth2/link/{}\"><button{}>{}</button></form>", escape_html(token),
                     second ? " class=\"second\"" : "", escape_html(words));
}

std::string way_back(const actors::consent_outcome& out) {
  if (out.return_to.empty()) return paragraph("You can close this window.");
  return fmt::format("<p><a class=\"button\" href=\"{}\">Back to the console</a></p>", escape_html(out.return_to));
}

std::string channel_facts(const actors::consent_outcome& out, std::string_view account_is) {
  return facts({{"Channel", out.channel_name}, {"Address", out.address}, {"Shared mailbox", out.mailbox}, {account_is, out.account}});
}

response wrong_account_page(const actors::consent_outcome& out) {
  const auto meant = out.address.empty() ? std::string("another account") : out.address;
  return page(
      409, "Another account signed in",
      paragraph(fmt::format("This channel is for {}, but {} signed in. Nothing was changed.", meant, out.account)) +
          facts({{"Wanted", out.address}, {"Shared mailbox", out.mailbox}, {"Signed in", out.account}}) +
          paragraph(out.accept.empty() ? "Choose the right account; if this is the right one under another name, tell whoever sent you the link."
                                       : "Choose the right account; or, if this is the same mailbox under another name, use it all the same.") +
          button(out.pick, "Choose another account") + button(out.accept, fmt::format("Use {} all the same", out.account), true));
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

response outcome_page(const actors::consent_outcome& out) {
  using enum actors::consent_end;
  switch (out.end) {
    case connected:
      return page(
          200, "Connected",
          paragraph("Mailherd may read this mailbox now. It begins by itself in a moment.") + channel_facts(out, "Signed in as") + way_back(out));
    case wrong_account:
      return wrong_account_page(out);
    case declined:
      return page(400, "Access was not granted",
                  paragraph("You pressed Cancel, or did not allow access. Nothing was changed.") + channel_facts(out, "Signed in as") +
                      button(out.again, "Try again"));
    case refused:
      return page(400, "The provider did not allow it",
                  paragraph("Your organisation's sign-in service refused the request. Nothing was changed.") + channel_facts(out, "Signed in as") +
                      small(out.detail) + paragraph("If it stays like this, show these words to your administrator.") +
                      button(out.again, "Try again"));
    case failed:
      return page(502, "Connecting did not work",
                  paragraph("The sign-in could not be finished. Nothing was changed.") + channel_facts(out, "Signed in as") + small(out.detail) +
                      button(out.again, "Try again"));
    case expired:
      return page(
          410, "Too late",
          paragraph("This sign-in was begun too long ago. Nothing was changed. Begin again from the console or from the link you were sent."));
    case used:
      return page(
          409, "Already used",
          paragraph("This sign-in has been used already; it works once. If the mailbox is not connected, begin again from the console or from the "
                    "link you were sent."));
    case unknown:
      return page(
          400, "This sign-in is not known",
          paragraph("The page was opened without a sign-in that began here, or it was so long ago that it is forgotten. Nothing was changed. Begin "
                    "again from the console or from the link you were sent."));
    case other_browser:
      return page(403, "Another browser began this",
                  paragraph("For your safety a sign-in ends in the browser in which it began. Nothing was changed. Begin again in this browser."));
    case superseded:
      return page(
          409, "Changed in the meantime",
          paragraph("While you signed in, somebody changed how this channel signs in. Nothing of yours was stored. Begin again from the console or "
                    "ask for a new link."));
  }
  return sorry_page(500, "");
}

response link_page(const actors::link_view& view, std::string_view token) {
  using enum actors::consent_end;
  switch (view.end) {
    case failed:
      break;
    case expired:
      return page(410, "This link has expired", paragraph("Ask whoever sent it for a new one."));
    case connected:
      return page(410, "This link was used already", paragraph("The mailbox is connected. There is nothing left to do."));
    case superseded:
      return page(409, "This link is out of date", paragraph("The channel was changed since it was sent. Ask for a new one."));
    default:
      return page(404, "This link is not known", paragraph("Check that it was copied completely, or ask for a new one."));
  }
  const std::string_view provider = view.provider == provider_kind::microsoft ? "Microsoft"
                                    : view.provider == provider_kind::google  ? "Google"
                                                                              : "your provider";
  return page(200, "Connect a mailbox",
              paragraph(fmt::format(
                  "You are asked to let Mailherd read this mailbox. You will sign in at {}; your password is not shown to anybody here.", provider)) +
                  facts({{"Channel", view.channel_name}, {"Address", view.address}, {"Shared mailbox", view.mailbox}, {"App", view.app_name}}) +
                  button(std::string(token), "Continue"));
}

response onward_page(const std::string& url) {
  const auto safe = escape_html(url);
  return page(200, "Taking you to the sign-in page", fmt::format("<p><a class=\"button\" href=\"{}\" rel=\"noreferrer\">Continue</a></p>", safe),
              fmt::format("<meta http-equiv=\"refresh\" content=\"0;url={}\">", safe));
}

response sorry_page(int status, std::string_view what) {
  return page(status, "Not now", paragraph("This cannot be done at the moment. Nothing was changed. Try again in a minute.") + small(what));
}

}  // namespace mailherd::api
