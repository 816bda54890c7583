package store

import "database/sql/driver"

// Through has the store's driver wrapped.
func (o Options) Through(wrap func(driver.Driver) driver.Driver) Options {
	o.wrap = wrap
	return o
}
