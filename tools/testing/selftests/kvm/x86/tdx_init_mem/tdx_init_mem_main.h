/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ends each program, to be included last: the last cases, which catch what a
 * case that died left in the kernel log and on the host, and main().
 *
 * TD_DISRUPTS, if defined, says what the program does to the whole machine; it then
 * skips where that is not allowed.
 */
FIXTURE(audit) {};

FIXTURE_SETUP(audit)
{
}

FIXTURE_TEARDOWN(audit)
{
}

TEST_F(audit, kernel_log_is_clean)
{
	struct tdx_audit_report report;

	tdx_audit_scan(&report);

	/* A skip would hide a failure: what is known already comes first. */
	if (!report.readable && tdx_audit_is_clean(&report))
		SKIP(return, "/dev/kmsg is not readable");

	td_audit_expect(_metadata, &report);
}

TD_TEST_F(audit, host_is_as_before)
{
	td_audit_host(_metadata);
}

int main(int argc, char **argv)
{
	tdx_test_begin();
#ifdef TD_DISRUPTS
	tdx_test_disrupts(TD_DISRUPTS);
#endif
	return test_harness_run(argc, argv);
}
