package channel

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// services are those of the library that we let in, read from its source at
// v0.13.2, and whether the operator's URL names the host that is spoken to. Such
// a host is looked up and checked by the address guard just before the library
// dials it; the others are public and fixed. (What goes through
// http.DefaultTransport is guarded while it is dialled as well, see
// cmd/jobwatcher/serve.go.)
//
// Left out: slack and generic, which we do better ourselves; logger, which tells
// nobody; matrix, which logs in when its URL is merely read; signal, whose server
// is one's own and speaks plain HTTP.
var services = map[string]bool{
	"bark": true, "discord": false, "googlechat": true, "gotify": true, "ifttt": false, "join": false, "lark": false,
	"mattermost": true, "notifiarr": false, "ntfy": true, "opsgenie": true, "pagerduty": true, "pushbullet": false,
	"pushover": false, "rocketchat": true, "smtp": true, "teams": false, "telegram": false, "wecom": false, "zulip": true,
}

// Services are the schemes that a channel's URL may have.
func Services() []string { return slices.Sorted(maps.Keys(services)) }

// Check says what is wrong with a channel's URL, without repeating it and
// without asking anybody.
func Check(text secret.Text) error {
	_, _, err := open(text)
	return err
}

// open makes the service that a URL names.
func open(text secret.Text) (types.Service, *url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text.Reveal()))
	if err != nil || u.Scheme == "" {
		return nil, nil, errors.New("not a service URL such as telegram://token@telegram?chats=@channel")
	}
	scheme, _, _ := strings.Cut(u.Scheme, "+")
	if _, known := services[scheme]; !known {
		return nil, nil, fmt.Errorf("its scheme is not one of %s", strings.Join(Services(), ", "))
	}
	service, err := (&router.ServiceRouter{}).Locate(u.String())
	if err != nil {
		// The library's words may repeat any part of the URL.
		return nil, nil, fmt.Errorf("not a valid URL of the service %s; see the library's page about it", scheme)
	}
	return service, u, nil
}

// parts are all pieces of the URL, each of which may be a secret: where a
// web address has its host, some services have a key.
func parts(u *url.URL) []string {
	all := []string{u.String(), u.Host, u.Hostname(), u.Opaque, u.Path, u.EscapedPath(), u.RawQuery, u.Fragment}
	if u.User != nil {
		password, _ := u.User.Password()
		all = append(all, u.User.String(), u.User.Username(), password)
	}
	all = append(all, strings.Split(u.Path, "/")...)
	for _, values := range u.Query() {
		all = append(all, values...)
		for _, v := range values {
			all = append(all, strings.Split(v, ",")...)
		}
	}
	return all
}
