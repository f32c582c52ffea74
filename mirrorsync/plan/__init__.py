"""What must change: inventories, their difference, and the plan. Pure; knows neither spec nor stores."""
