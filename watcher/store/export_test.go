package store

// Through has the store use another database/sql driver.
func (o Options) Through(driver string) Options {
	o.driver = driver
	return o
}
