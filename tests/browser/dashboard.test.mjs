// The dashboard as users use it, in headless Chromium against a real `lastlight local`: scripts/browser-test.
// One file for the test runner, since all tests share one cloud and one browser.

import './submit.mjs';
import './jobs.mjs';
import './find.mjs';
import './graphs.mjs';
import './gates.mjs';
import './poison.mjs';
import './workers.mjs';
import './schedules.mjs';
import './orders.mjs';
import './frame.mjs';
import './late.mjs';
import './pictures.mjs';
